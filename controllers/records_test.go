// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"
	"time"

	"github.com/poolfleet/poolfleet/controllers"
)

func TestOnlyAPodWhoseTryFailedHasFailedWhileItIsParked(t *testing.T) {
	start := time.Now()
	for name, tt := range map[string]struct {
		tried time.Duration
		want  time.Duration
	}{
		"parked after a moment": {time.Second, 0},
		"parked after its try":  {2 * time.Minute, 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r := controllers.NewRecords()
			r.Unready("uid", true, true, start)
			r.Unready("uid", true, true, start.Add(tt.tried))
			r.Unready("uid", true, false, start.Add(tt.tried+time.Second))
			if got := r.Unready("uid", true, false, start.Add(3*time.Minute)); got != tt.want {
				t.Errorf("it has failed for %s, want %s", got, tt.want)
			}
			if got := r.Unready("uid", false, true, start.Add(4*time.Minute)); got != 0 {
				t.Errorf("once it is ready it has failed for %s", got)
			}
		})
	}
}
