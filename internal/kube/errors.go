// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import "fmt"

// ConflictError says that an object of a needed name is not the pool's. It is left
// untouched.
type ConflictError struct {
	Kind      string
	Namespace string
	Name      string
	// Owner is who controls the object, as "Kind/name"; empty when nobody does.
	Owner string
	// Predecessor is true when the owner is a deleted object of the pool's own kind
	// and name: the garbage collector is about to remove it, nobody has to help.
	Predecessor bool
}

func (e *ConflictError) Error() string {
	switch {
	case e.Predecessor:
		return fmt.Sprintf("%s %s/%s belongs to the deleted %s of the same name and is about to go", e.Kind, e.Namespace, e.Name, e.Owner)
	case e.Owner == "":
		return fmt.Sprintf("%s %s/%s exists and was not made for this pool: delete or rename it", e.Kind, e.Namespace, e.Name)
	default:
		return fmt.Sprintf("%s %s/%s belongs to %s: delete or rename one of the two", e.Kind, e.Namespace, e.Name, e.Owner)
	}
}

// RefusedError says that the API server will not have an object as it is. It tells
// which fields and why, never what stands in them where that could be a secret. It
// does not wrap the API server's error, which may quote the object.
type RefusedError struct {
	Kind      string
	Namespace string
	Name      string
	// Reason is the API server's one word, such as Invalid or Forbidden.
	Reason string
	// Detail is its explanation, shortened; empty where it could hold a secret.
	Detail string
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the API server refused %s %s/%s: %s", e.Kind, e.Namespace, e.Name, e.Reason)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}
