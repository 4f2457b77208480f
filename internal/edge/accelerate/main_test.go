// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A thread that dials inside of a root file system stays for the next test; see testenv.DialInside.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/poolfleet/poolfleet/internal/testenv.dialInside"))
}
