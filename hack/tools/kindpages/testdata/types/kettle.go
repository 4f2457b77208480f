// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type Kettle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	Spec              KettleSpec   `json:"spec,omitzero"`
	Status            KettleStatus `json:"status,omitzero"`
}

type Heat string

const (
	// HeatLow keeps warm.
	HeatLow Heat = "Low"
	// HeatHigh boils.
	HeatHigh Heat = "High"
)

type KettleSpec struct {
	Cups   *int32              `json:"cups,omitempty"`
	Heat   Heat                `json:"heat,omitempty"`
	Blends []Blend             `json:"blends,omitempty"`
	Tags   map[string]string   `json:"tags,omitempty"`
	Stains []corev1.Toleration `json:"stains,omitempty"`
}

type Blend struct {
	Name  string   `json:"name,omitempty"`
	Herbs []string `json:"herbs,omitempty"`
}

type KettleStatus struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	BoiledAt   *metav1.Time       `json:"boiledAt,omitempty"`
}

// Condition types of a Kettle. Both are
// always there.
const (
	// ConditionHot is True when it is hot.
	ConditionHot = "Hot"
)

// Reasons of Hot.
const (
	// ReasonBoiled means that it boiled,
	// or that spec.heat is Low.
	ReasonBoiled = "Boiled"
)

type Pan struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`
	Spec              Blend `json:"spec,omitzero"`
	Status            Blend `json:"status,omitzero"`
}

// Condition types of a Pan.
const (
	// ConditionClean is True when it is clean.
	ConditionClean = "Clean"
)

// Reasons of Clean.
const (
	// ReasonWashed means that it was washed.
	ReasonWashed = "Washed"
)

// Reasons of events that no condition has.
const (
	// EventDropped means that it fell.
	EventDropped = "Dropped"
)

// NotAReason is alone.
const NotAReason = "alone"
