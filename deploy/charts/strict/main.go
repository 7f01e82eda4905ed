// Strict reads manifests of Kubernetes from standard input by the types of its API, and
// ends with 1 where one has a field that the API does not know, or of another form. It is
// a module of its own, since nothing else wants those types.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func main() {
	n, err := check(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "strict:", err)
		os.Exit(1)
	}
	fmt.Println(n, "manifests are what the API takes")
}

// check reads all manifests.
func check(r io.Reader) (n int, err error) {
	docs := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for {
		doc, err := docs.Read()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			return n, err
		}
		if kind.Kind == "" && len(bytes.TrimSpace(doc)) > 0 && kind.APIVersion == "" {
			continue // comments alone
		}
		into, ok := map[string]metav1.Object{
			"v1 ConfigMap": &corev1.ConfigMap{}, "v1 Service": &corev1.Service{}, "v1 PersistentVolumeClaim": &corev1.PersistentVolumeClaim{},
			"apps/v1 Deployment": &appsv1.Deployment{}, "apps/v1 StatefulSet": &appsv1.StatefulSet{}, "policy/v1 PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
		}[kind.APIVersion+" "+kind.Kind]
		if !ok {
			return n, fmt.Errorf("%s %s is not known here", kind.APIVersion, kind.Kind)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			return n, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		if wrong := validation.IsDNS1123Subdomain(into.GetName()); len(wrong) > 0 {
			return n, fmt.Errorf("%s: the name %q: %v", kind.Kind, into.GetName(), wrong)
		}
		n++
	}
}
