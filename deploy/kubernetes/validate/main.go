// Command validate checks Kubernetes manifests with the code by which the API server of
// Kubernetes itself decodes and validates them: unknown and repeated keys, types, and what
// values are allowed.
//
// It is a module of its own. Kubernetes has some hundred dependencies and thirty
// replacements, none of which belong into the broker's go.mod. Strict decoding alone, with
// k8s.io/api or against schemas, would be lighter, and takes any text for an enumeration.
package main

import (
	"errors"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/kubernetes/pkg/apis/apps"
	appsinstall "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	coreinstall "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"sigs.k8s.io/yaml"
)

func main() {
	failed := len(os.Args) < 2
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
			continue
		}
		fmt.Printf("%s: valid\n", path)
	}
	if failed {
		os.Exit(1)
	}
}

// check fails unless a file holds one valid manifest.
func check(path string) error {
	manifest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := yaml.YAMLToJSONStrict(manifest); err != nil {
		return err
	}
	object, err := decode(manifest)
	if err != nil {
		return err
	}
	return validate(object)
}

// decode reads a manifest of any version, and sets what it leaves to the defaults.
func decode(manifest []byte) (runtime.Object, error) {
	scheme := runtime.NewScheme()
	coreinstall.Install(scheme)
	appsinstall.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(
		schema.GroupVersion{Group: apps.GroupName, Version: runtime.APIVersionInternal},
		schema.GroupVersion{Group: core.GroupName, Version: runtime.APIVersionInternal},
	)
	object, _, err := decoder.Decode(manifest, nil, nil)
	return object, err
}

// validate does what the API server does once it has set the namespace.
func validate(object runtime.Object) error {
	switch object := object.(type) {
	case *apps.Deployment:
		object.Namespace = "default"
		return appsvalidation.ValidateDeployment(object, corevalidation.PodValidationOptions{}).ToAggregate()
	case *core.ConfigMap:
		object.Namespace = "default"
		return corevalidation.ValidateConfigMap(object).ToAggregate()
	default:
		return errors.New("validate does not know this kind: add it")
	}
}
