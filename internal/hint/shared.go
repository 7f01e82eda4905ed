package hint

// Shared returns the rows that stand in both tables.
func Shared() []*Advice {
	return append(ACME(), FileClosed, FileMissing, NoPair)
}

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
