// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

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

// Bounds on what of the API server's words goes into a status.
const maxDetail = 400

// refusals are the answers that trying again does not change.
var refusals = sets.New[int32](http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)

// overtaken reports whether someone wrote, or took the name, between our look at
// an object and our write. An apply with the UID of an object that is there no more
// is a conflict, with that of another object it is invalid.
func overtaken(err error) bool {
	var answer apierrors.APIStatus
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return true
	}
	return errors.As(err, &answer) && answer.Status().Details != nil &&
		slices.ContainsFunc(answer.Status().Details.Causes, func(cause metav1.StatusCause) bool {
			return cause.Field == "metadata.uid"
		})
}

// explain says what an error means for the wanted object.
func (w wanted) explain(err error) error {
	var conflict *ConflictError
	if err == nil || errors.As(err, &conflict) {
		return err
	}
	if overtaken(err) {
		return fmt.Errorf("applying %s: someone else writes it at the same time", w.key)
	}
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || !refusals.Has(answer.Status().Code) {
		return fmt.Errorf("applying %s: %w", w.key, err)
	}
	status := answer.Status()
	return &RefusedError{
		Kind: w.key.kind.Kind, Namespace: w.key.name.Namespace, Name: w.key.name.Name,
		Reason: cmp.Or(string(status.Reason), http.StatusText(int(status.Code))),
		Detail: shorten(w.detail(status)),
	}
}

// detail is what the API server objects to. Of a Secret it names fields alone: a
// message can quote what stands in them.
func (w wanted) detail(status metav1.Status) string {
	secret := w.key.kind.Kind == "Secret"
	if status.Details == nil || len(status.Details.Causes) == 0 {
		if secret {
			return ""
		}
		return status.Message
	}
	var causes []string
	for _, cause := range status.Details.Causes {
		if secret {
			causes = append(causes, fmt.Sprintf("%s (%s)", cause.Field, cause.Type))
		} else {
			causes = append(causes, fmt.Sprintf("%s: %s", cause.Field, cause.Message))
		}
	}
	return strings.Join(causes, "; ")
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > maxDetail {
		return string(runes[:maxDetail]) + "…"
	}
	return text
}
