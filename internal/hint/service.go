package hint

// The advice for the local service behind a name.
var (
	ServiceStopped = &Advice{
		Shown: "the local service does not answer: … connection refused",
		Do:    []string{"start it, or check the port in --local"},
	}
	ServiceNoSocket = &Advice{
		Shown: "the local service does not answer: … no such file or directory",
		Means: "a unix socket",
		Do:    []string{"start it, or check the path in --local"},
	}
	ServiceNotSocket = &Advice{
		Shown: "the local service does not answer: it is no socket",
		Means: "what lies at the path of a unix socket is a folder or a plain file",
		Do:    []string{"check the path in --local: unix:/path leads to the socket itself"},
	}
	ServiceSocketClosed = &Advice{
		Shown: "the local service does not answer: … permission denied",
		Means: "a unix socket",
		Do:    []string{"let this program's user read and write the socket"},
	}
	ServiceSilent = &Advice{
		Shown: "the local service does not answer: … it has not answered for 10s",
		Do:    []string{"is its host up, does a firewall let this device through, and is --local right?"},
	}
	ServiceUnknownHost = &Advice{
		Shown: "the local service does not answer: … no such host",
		Do:    []string{"check the host in --local, and this device's DNS"},
	}
	ServiceUntrusted = &Advice{
		Shown: "the local service does not answer: its certificate is not trusted: …",
		Means: "it is self-signed, expired, or for another host",
		Do: []string{"to leave it unchecked: --local https+insecure://HOST",
			"or add its CA to this system's, or give the host that the certificate is for"},
	}
	ServiceHandshake = &Advice{
		Shown: "the local service does not answer: TLS handshake: …",
		Do:    []string{"check that it speaks TLS there, for this name, with TLS 1.2 or 1.3"},
	}
	ServiceIsPlain = &Advice{
		Shown: "the local service does not answer: it does not speak TLS there",
		Do:    []string{"it may speak plain HTTP: --local http://HOST", "or something else without TLS: --local tcp://HOST"},
	}
	ServiceIsTLS = &Advice{
		Shown: "the local service gives a broken answer: it speaks TLS there",
		Do:    []string{"--local https://HOST, or https+insecure://HOST if its certificate is self-signed"},
	}
	ServiceIsH2C = &Advice{
		Shown: "the local service gives a broken answer: it speaks HTTP/2 alone there",
		Do:    []string{"--local h2c://HOST"},
	}
	ServiceIsNotH2C = &Advice{
		Shown: "the local service gives a broken answer: it does not speak HTTP/2 without TLS",
		Do:    []string{"it may speak HTTP/1.1: --local http://HOST"},
	}
	ServiceOther = &Advice{
		Shown: "the local service gives a broken answer: it speaks SSH there",
		Means: "also SMTP or FTP, IMAP, POP3, VNC, RTSP, Redis, memcached, NATS, AMQP, Telnet, MySQL",
		Do:    []string{"to publish it as it is, with TLS around it: --local tcp://HOST", "or check the port in --local"},
	}
	ServiceHangsUp = &Advice{
		Shown: "the local service does not answer: it has ended the connection",
		Means: "also `it has reset the connection`: without a word to the request, as services do that speak something else than HTTP",
		Do: []string{"it may not speak HTTP: to publish it as it is, with TLS around it: --local tcp://HOST",
			"if it does, look at the service's own log, and ask it without the remote: curl -v"},
	}
	ServiceBroken = &Advice{
		Shown: "the local service gives a broken answer: …",
		Means: "the rest names the rule of HTTP that it breaks",
		Do:    []string{"look at the service's own log, and ask it without the remote: curl -v"},
	}
	ServiceCertificate = &Advice{
		Shown: "visitors will refuse the local service's certificate",
		Means: "of a `tls://` service, whose own it is; whether visitors trust its CA is not looked at",
		Do:    []string{"give the service a certificate for NAME: with tls:// the remote orders none", "or let the remote end TLS, for HTTP: --local https+insecure://HOST"},
	}
	FolderMissing = &Advice{
		Shown: "the folder cannot be read: … no such file or directory",
		Means: "it is not there, or not any more; it is looked for anew with each request",
		Do:    []string{"check the path in --local: DIR"},
	}
	FolderIsFile = &Advice{
		Shown: "the folder cannot be read: it is no folder",
		Do:    []string{"check the path in --local: DIR leads to something else; to serve one file, give the folder that it is in"},
	}
	FolderClosed = &Advice{
		Shown: "the folder cannot be read: permission denied",
		Do:    []string{"let this program's user read and enter DIR, and enter the folders above it"},
	}
	FolderFileClosed = &Advice{
		Shown: "a file in the folder cannot be read",
		Means: "visitors get 403",
		Do:    []string{"let this program's user read it, or take it out of the folder"},
	}
	FolderLink = &Advice{
		Shown: "a symbolic link leads out of the folder",
		Means: "visitors get 404; so does one with an absolute path, wherever that leads",
		Do:    []string{"put what it leads to into the folder, or make the link relative if it is there"},
	}
	FolderState = &Advice{
		Shown: "visitors of the folder … would get at the state directory …",
		Means: "exit code 2, and a reload is not taken up; the device's private keys are there. So it is where the folder lies in the state directory. Names that begin with a dot are not shown, nor what is below them",
		Do:    []string{"publish another folder, or move the state elsewhere: --state-dir DIR"},
	}
	FolderSecret = &Advice{
		Shown: "visitors of the folder … would get at …",
		Means: "a private key, or another file with a secret, which the configuration names; or the configuration itself, with a secret in it",
		Do:    []string{"publish another folder, or move that file out of it"},
	}
	ServiceLate = &Advice{
		Shown: "the local service does not answer: its answer has not begun after …",
		Means: "a route has a time limit for it, and visitors get 504",
		Do:    []string{"see why it takes so long, or raise the answer timeout of the route"},
	}
	ServiceUnwell = &Advice{
		Shown: "the local service fails its health check: visitors get 503",
		Do:    []string{"look at the service's own log, and ask it for PATH without the remote: curl -v; it is asked again all the time"},
	}
	TooManyVisitors = &Advice{
		Shown: "too many visitors at once: new ones are refused",
		Means: "4,096 connections, or fewer on a device with less than 2 GiB of memory",
		Do:    []string{"those who are there stay; if they are no attack, share the name with another device: --replica"},
	}
)
