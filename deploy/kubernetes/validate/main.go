// Command validate checks Kubernetes manifests with the code of the Kubernetes API server. It finds
// unknown keys, repeated keys, wrong types, and values that are not allowed. An argument is a
// manifest, or a folder, whose kustomization is built first.
//
// The command is a module of its own, because Kubernetes has about a hundred dependencies and
// thirty replace directives that do not belong in the broker's go.mod. Two other checks would need
// fewer dependencies: decoding the manifests strictly with k8s.io/api, and comparing them with JSON
// schemas. But both accept any text in a field that allows only certain values.
package main

import (
	"errors"
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

func main() {
	failed := len(os.Args) < 2
	for _, path := range os.Args[1:] {
		if err := checkPath(path); err != nil {
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

// checkPath returns an error unless a file contains exactly one manifest, which is valid, or the
// kustomization in a folder builds only valid manifests.
func checkPath(path string) error {
	if info, err := os.Stat(path); err != nil {
		return err
	} else if info.IsDir() {
		return checkKustomization(path)
	}
	manifest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return check(manifest)
}

func checkKustomization(folder string) error {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return err
	}
	var all []error
	for _, resource := range built.Resources() {
		manifest, err := resource.AsYAML()
		if err == nil {
			err = check(manifest)
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s %s: %w", resource.GetKind(), resource.GetName(), err))
		}
	}
	return errors.Join(all...)
}

func check(manifest []byte) error {
	if _, err := yaml.YAMLToJSONStrict(manifest); err != nil {
		return err
	}
	if known, err := checkPodMonitor(manifest); known {
		return err
	}
	object, err := decode(manifest)
	if err != nil {
		return err
	}
	return errors.Join(validate(object), restricted(manifest))
}
