// Command validate checks Kubernetes manifests with the code of the Kubernetes API server. It finds
// unknown keys, repeated keys, wrong types, and values that are not allowed.
//
// The command is a module of its own, because Kubernetes has about a hundred dependencies and
// thirty replace directives that do not belong in the broker's go.mod. Strict decoding with
// k8s.io/api, or a check against JSON schemas, would need fewer dependencies, but accepts any text
// in a field that allows only certain values.
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

// check returns an error unless a file contains exactly one manifest, which is valid.
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

// decode reads a manifest of any API version, and sets default values.
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

// validate checks an object as the API server does.
func validate(object runtime.Object) error {
	switch object := object.(type) {
	case *apps.Deployment:
		object.Namespace = "default"
		return appsvalidation.ValidateDeployment(object, corevalidation.PodValidationOptions{}).ToAggregate()
	case *core.ConfigMap:
		object.Namespace = "default"
		return corevalidation.ValidateConfigMap(object).ToAggregate()
	default:
		return errors.New("this kind is not supported: add it to validate()")
	}
}
