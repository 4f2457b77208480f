// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func TestLogsReadAsThePoolersDo(t *testing.T) {
	var manager, pooler bytes.Buffer
	logger := zap.New(encoder(), zap.UseDevMode(false), level("info"), stackTracesOff(), zap.WriteTo(&manager))
	logger.V(1).Info("Decided")
	logger.Info("Granted", "connections", 4)
	slog.New(slog.NewJSONHandler(&pooler, nil)).Info("Granted", "connections", 4)
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(manager.Bytes(), &got), json.Unmarshal(pooler.Bytes(), &want)); err != nil {
		t.Fatalf("%v: %s", err, manager.String())
	}
	said, _ := got["time"].(string)
	if _, err := time.Parse(time.RFC3339Nano, said); err != nil {
		t.Error(err)
	}
	delete(got, "time")
	delete(want, "time")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-pooler +manager), of %v:\n%s", slices.Sorted(maps.Keys(got)), diff)
	}
}
