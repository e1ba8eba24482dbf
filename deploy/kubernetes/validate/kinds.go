package main

import (
	"errors"
	"fmt"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/apis/apps"
	appsinstall "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	coreinstall "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	networkinginstall "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	policyinstall "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// decode reads a manifest of any API version, and sets default values.
func decode(manifest []byte) (runtime.Object, error) {
	scheme := runtime.NewScheme()
	for _, install := range []func(*runtime.Scheme){
		appsinstall.Install, coreinstall.Install, networkinginstall.Install, policyinstall.Install,
	} {
		install(scheme)
	}
	var internal []schema.GroupVersion
	for _, group := range []string{apps.GroupName, core.GroupName, networking.GroupName, policy.GroupName} {
		internal = append(internal, schema.GroupVersion{Group: group, Version: runtime.APIVersionInternal})
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(internal...)
	object, _, err := decoder.Decode(manifest, nil, nil)
	return object, err
}

// validate checks an object as the Kubernetes API server does.
func validate(object runtime.Object) error {
	if _, cluster := object.(*core.Namespace); !cluster {
		if err := setNamespace(object); err != nil {
			return err
		}
	}
	var problems field.ErrorList
	switch object := object.(type) {
	case *apps.Deployment:
		problems = appsvalidation.ValidateDeployment(object, corevalidation.PodValidationOptions{})
	case *core.ConfigMap:
		problems = corevalidation.ValidateConfigMap(object)
	case *core.Namespace:
		problems = corevalidation.ValidateNamespace(object)
	case *core.Service:
		if object.Spec.ClusterIP != "" {
			object.Spec.ClusterIPs = []string{object.Spec.ClusterIP} // the API server sets ClusterIPs before it validates a Service
		}
		problems = corevalidation.ValidateServiceCreate(object)
	case *core.ServiceAccount:
		problems = corevalidation.ValidateServiceAccount(object)
	case *networking.NetworkPolicy:
		problems = networkingvalidation.ValidateNetworkPolicy(object, networkingvalidation.NetworkPolicyValidationOptions{})
	case *policy.PodDisruptionBudget:
		problems = policyvalidation.ValidatePodDisruptionBudget(object, policyvalidation.PodDisruptionBudgetValidationOptions{})
	default:
		return errors.New("this kind is not supported: add it to validate()")
	}
	return problems.ToAggregate()
}

// setNamespace sets the namespace of an object that has none, as kubectl does.
func setNamespace(object runtime.Object) error {
	about, err := meta.Accessor(object)
	if err == nil && about.GetNamespace() == "" {
		about.SetNamespace("default")
	}
	return err
}

// restricted returns an error if a Deployment's pods violate the Pod Security Standard
// "restricted".
func restricted(manifest []byte) error {
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal(manifest, &deployment); err != nil || deployment.Kind != "Deployment" {
		return err
	}
	version := api.LatestVersion()
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), &version)
	if err != nil {
		return err
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: version}
	template := deployment.Spec.Template
	result := podsecurity.AggregateCheckResults(evaluator.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
	if !result.Allowed {
		return fmt.Errorf("the Pod Security Standard forbids: %s", result.ForbiddenDetail())
	}
	return nil
}

// checkPodMonitor reports whether a manifest is a PodMonitor, and returns an error if the
// PodMonitor has unknown keys or values of wrong types. checkPodMonitor checks no more, because the
// API server validates a PodMonitor by JSON schemas, which no Go module contains.
func checkPodMonitor(manifest []byte) (known bool, err error) {
	var object monitoring.PodMonitor
	if err := yaml.Unmarshal(manifest, &object.TypeMeta); err != nil || object.Kind != monitoring.PodMonitorsKind {
		return false, err
	}
	if want := monitoring.SchemeGroupVersion.String(); object.APIVersion != want {
		return true, fmt.Errorf("apiVersion is %s, want %s", object.APIVersion, want)
	}
	return true, yaml.UnmarshalStrict(manifest, &object)
}
