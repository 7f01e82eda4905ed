package hint

// The advice for "remote docker".
var (
	ContainerWrong = &Advice{
		Shown: "a container is not published",
		Means: "`remote docker`: its labels cannot be used; the others are not touched",
		Do:    []string{"mend the labels and make the container anew: docker compose up -d, or docker run --label …; remote docker --help has all labels"},
	}
	ContainerTwice = &Advice{
		Shown: "a container is not published: … is the name of the container … too",
		Do:    []string{"the older one keeps it; give the younger one another name, or stop the older one"},
	}
	EngineAway = &Advice{
		Shown: "the container engine does not answer; it is asked again",
		Means: "`remote docker`: what is published stays meanwhile",
		Do: []string{"is it running? docker info; another socket, such as Podman's: --socket PATH",
			"a user who may not use the socket: run this as one of the group docker, who can do as much as root with it"},
	}
)
