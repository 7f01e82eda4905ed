package hint

// Shared returns the rows that stand in both tables.
func Shared() []*Advice {
	return append(ACME(), FileClosed, FileMissing, NoPair,
		FileUnreadable, FileIsFolder, OneSecret)
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
	NoPair = &Advice{
		Shown: "…: with key …: tls: …",
		Do:    []string{"give the PEM chain, leaf first, as the certificate and the PEM key it was made for as the key"},
	}
)
