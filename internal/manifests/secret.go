// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/poolfleet/poolfleet/internal/contract"
)

// BindingSecretType is the type of the Secret that applications read. The API
// server never lets a Secret change its type.
// Source: Service Binding specification, section Well-known Secret Entries.
const BindingSecretType corev1.SecretType = "servicebinding.io/postgresql"

// CredentialsKey is the key, in the Secret that the poolers mount, of what they do not.
const CredentialsKey = "credentials.json"

// configSecret holds what the poolers run. Its change reaches them through their
// volume, without a new pod.
func configSecret(in Inputs) *corev1ac.SecretApplyConfiguration {
	name := ConfigSecretName(in.Pool.Name)
	secret := corev1ac.Secret(name, in.Pool.Namespace)
	secret.ObjectMetaApplyConfiguration = in.objectMeta(name, nil, nil)
	return secret.
		WithAnnotations(map[string]string{ConfigRevisionAnnotation: in.ConfigRevision}).
		WithType(corev1.SecretTypeOpaque).
		WithData(map[string][]byte{contract.ConfigKey: in.Config, CredentialsKey: in.Credentials})
}

// publishedSecret is what applications read.
func publishedSecret(in Inputs) *corev1ac.SecretApplyConfiguration {
	name := PublishedSecretName(in.Pool.Name, in.Secret)
	secret := corev1ac.Secret(name, in.Pool.Namespace)
	secret.ObjectMetaApplyConfiguration = in.objectMeta(name, in.Secret.Labels, in.Secret.Annotations)
	return secret.
		WithType(BindingSecretType).
		WithData(in.Published)
}
