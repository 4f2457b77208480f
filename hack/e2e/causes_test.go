// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What bad input is made of, and what takes its cause away.

// correct changes a case's Secret to what is right.
func (s *story) correct(name, url string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name + "-db"}}
		s.change(t, secret, func() { secret.Data = map[string][]byte{"DATABASE_URL": []byte(url)} })
	}
}

// service leads to the pods of an app.
func (s *story) service(name, app string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app},
			Ports:    []corev1.ServicePort{{Port: 5432, TargetPort: intstr.FromInt32(5432)}},
		},
	}
}

// creating makes an object.
func (s *story) creating(object client.Object) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		s.create(t, object)
	}
}

// freeing takes an object away that nobody else may have written.
func (s *story) freeing(object client.Object) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		s.untouched(t, object)
		s.delete(t, object)
	}
}

// leading makes a Service lead to the pods of an app.
func (s *story) leading(name, app string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		service := s.service(name, app)
		s.change(t, service, func() { service.Spec.Selector = map[string]string{"app": app} })
	}
}

func (s *story) withoutParameters(name string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		pool := aPool(s.namespace, name)
		s.change(t, pool, func() { pool.Spec.Parameters = nil })
	}
}

// running runs a statement as the superuser.
func (s *server) running(statement string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		s.run(t, statement)
	}
}
