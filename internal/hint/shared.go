package hint

// Shared returns the rows that stand in both tables.
func Shared() []*Advice {
	return append(append(Usage(), ACME()...), FileClosed, FileMissing, NoPair, KeyPassphrase, NoChain, Unfit, NoRoots,
		FileUnreadable, FileIsFolder, FileIsPipe, OneSecret,
		FileOpen, FileWasOpen, FolderOpen, OtherOwner, DiskFull, ReadOnly)
}

// The advice for files that the configuration names.
var (
	FileUnreadable = &Advice{
		Shown: "cannot read …: permission denied",
		Means: "the configuration, or a file that it names",
		Do:    []string{"let the user that runs this read FILE and the folders above it"},
	}
	FileIsFolder = &Advice{
		Shown: "cannot read …: is a directory",
		Do:    []string{"FILE is a folder: name a file in it"},
	}
	FileIsPipe = &Advice{
		Shown: "… is a named pipe, not a file",
		Means: "also a file that the program keeps, in whose place there is one",
		Do:    []string{"nobody writes into FILE: put a file in its place, or move it away where it is one that this program makes"},
	}
	OneSecret = &Advice{
		Shown: "cannot read …: a secret is one line of text",
		Means: "also `the file is empty`, `a secret has at most 1024 bytes`",
		Do:    []string{"write the secret alone into the file, on one line, such as the output of openssl rand -hex 24"},
	}
)

// The advice for certificates that are brought as files.
var (
	FileClosed = &Advice{
		Shown: "open …: permission denied",
		Means: "a certificate, a key or a folder of them",
		Do:    []string{"let the user that runs this read and write FILE"},
	}
	FileMissing = &Advice{
		Shown: "open …: no such file or directory",
		Means: "a certificate or a key",
		Do:    []string{"check the path FILE"},
	}
	NoChain = &Advice{
		Shown: "…: no intermediate certificate: …",
		Means: "also `certificate … of its chain has not issued …`",
		Do:    []string{"put the whole chain into the file, the certificate first and then its intermediate, as in fullchain.pem; only a certificate that a private root has issued itself needs none"},
	}
	NoPair = &Advice{
		Shown: "…: with key …: tls: …",
		Do:    []string{"give the PEM chain, leaf first, as the certificate and the PEM key it was made for as the key"},
	}
)

// KeyPassphrase is for a key that nothing here can open.
var KeyPassphrase = &Advice{
	Shown: "…: the key has a passphrase",
	Do:    []string{"nothing asks for it here: write the key without one, as openssl pkey -in FILE -out OTHER does, and keep that file from others with chmod 600"},
}

// Unfit is for a certificate that was brought and will be refused.
var Unfit = &Advice{
	Shown: "… will refuse the certificate",
	Means: "it is for other names, or not valid now",
	Do:    []string{"bring another: the files are looked at once a minute, and no restart is needed"},
}

// NoRoots is for a file that is to hold roots.
var NoRoots = &Advice{
	Shown: "… holds no certificate",
	Do:    []string{"FILE must hold root certificates as PEM, text that begins with -----BEGIN CERTIFICATE-----, or one as DER"},
}

// The advice for what a program keeps in files.
var (
	FileOpen = &Advice{
		Shown: "every user of this machine can read or write …",
		Means: "a key or a token",
		Do:    []string{"chmod 600 FILE"},
	}
	FileWasOpen = &Advice{
		Shown: "every user of this machine could read or write …",
		Means: "a key that the program keeps",
		Do:    []string{"this program has done chmod 600 FILE; if others may have read it before, begin with a new key: move FILE away"},
	}
	FolderOpen = &Advice{
		Shown: "every user of this machine can get into …",
		Means: "a state directory",
		Do:    []string{"chmod 700 DIR"},
	}
	OtherOwner = &Advice{
		Shown: "… permission denied",
		Means: "a file or folder belongs to somebody else, mostly since the program ran as root once",
		Do:    []string{"FILE belongs to OWNER, and this runs as USER: sudo chown -R USER FILE"},
	}
	DiskFull = &Advice{
		Shown: "… no space left on device",
		Means: "also `disk quota exceeded`",
		Do:    []string{"make room on the file system of DIR"},
	}
	ReadOnly = &Advice{
		Shown: "… read-only file system",
		Do:    []string{"DIR cannot be written, whatever its mode: choose another folder with --state-dir"},
	}
)
