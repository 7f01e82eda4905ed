package hint

// Shared returns the rows that stand in both tables.
func Shared() []*Advice {
	return append(append(Usage(), ACME()...), FileClosed, FileMissing, NoPair, FormDER, FormDERKey, FormPKCS12, FormPKCS7, FormKeystore, FormRequest, FormSSH, FormSwapped, FormEmpty, FormCut, KeyPassphrase, NoChain, Unfit, NoRoots,
		FileUnreadable, FileIsFolder, FileIsPipe, OneSecret,
		FileOpen, FileWasOpen, FolderOpen, FolderShared, OtherOwner, OthersFolder, FileRights, LinkDangles, DiskFull, ReadOnly)
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

// The advice for a certificate or a key that is not kept as PEM.
var (
	FormDER = &Advice{
		Shown: "… is a certificate in DER form, not PEM",
		Do:    []string{"openssl x509 -inform DER -in FILE -out cert.pem makes PEM of it; put the intermediate certificates behind it in that file"},
	}
	FormDERKey = &Advice{
		Shown: "… is a private key in DER form, not PEM",
		Do:    []string{"openssl pkey -inform DER -in FILE -out key.pem makes PEM of it; keep that file from others with chmod 600"},
	}
	FormPKCS12 = &Advice{
		Shown: "… is a PKCS #12 file (.p12, .pfx), not PEM",
		Do: []string{"it holds both, which become two files: openssl pkcs12 -in FILE -nokeys -out cert.pem, and openssl pkcs12 -in FILE -nocerts -nodes -out key.pem",
			"where openssl calls it unsupported, add -legacy; keep key.pem from others with chmod 600"},
	}
	FormPKCS7 = &Advice{
		Shown: "… is a PKCS #7 file (.p7b)",
		Do:    []string{"openssl pkcs7 INFORM -in FILE -print_certs -out cert.pem makes PEM of it; the key is in another file"},
	}
	FormKeystore = &Advice{
		Shown: "… is a Java keystore, not PEM",
		Do: []string{"keytool -importkeystore -srckeystore FILE -destkeystore all.p12 -deststoretype PKCS12 makes a PKCS #12 file of it",
			"and that becomes two files: openssl pkcs12 -in all.p12 -nokeys -out cert.pem, and openssl pkcs12 -in all.p12 -nocerts -nodes -out key.pem"},
	}
	FormRequest = &Advice{
		Shown: "… is a request for a certificate, and not the certificate",
		Do:    []string{"a CA makes the certificate from it and sends that back: give the file that it has sent"},
	}
	FormSSH = &Advice{
		Shown: "… is a key of SSH, and none of a certificate",
		Do:    []string{"give the private key that the certificate was made for, as PEM"},
	}
	FormSwapped = &Advice{
		Shown: "… holds a private key, and no certificate",
		Means: "also `… holds a certificate, and no private key`",
		Do:    []string{"are the two files the wrong way round? the certificate's has the chain, leaf first, and the key's its private key"},
	}
	FormEmpty = &Advice{
		Shown: "… is empty",
		Means: "a certificate or a key",
		Do:    []string{"nothing is in FILE: was what makes it broken off?"},
	}
	FormCut = &Advice{
		Shown: "… is cut off: its PEM block begins, and does not end",
		Means: "a certificate or a key",
		Do:    []string{"copy FILE anew, to its last line, which begins with -----END"},
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
	FolderShared = &Advice{
		Shown: "every user of this machine can get into …",
		Means: "a folder that is there for others too, such as /tmp or /etc",
		Do:    []string{"choose a folder for this program alone, with --state-dir"},
	}
	OtherOwner = &Advice{
		Shown: "… permission denied",
		Means: "a file or folder belongs to somebody else, mostly since the program ran as root once",
		Do:    []string{"FILE belongs to OWNER, and this runs as USER: sudo chown -R USER FILE"},
	}
	OthersFolder = &Advice{
		Shown: "… permission denied: it is the folder of somebody else",
		Means: "a state directory that has other things in it, or is the system's",
		Do:    []string{"FILE belongs to OWNER, and this runs as USER: choose another folder with --state-dir"},
	}
	FileRights = &Advice{
		Shown: "open …: permission denied",
		Means: "a file that the program keeps, and whose mode keeps its own user out",
		Do:    []string{"let the user that runs this read and write FILE: chmod 600 FILE"},
	}
	LinkDangles = &Advice{
		Shown: "… is a symbolic link to …, which is not there",
		Means: "a state directory, or a file",
		Do:    []string{"make TARGET, or lead FILE elsewhere; is what is to be there mounted?"},
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
