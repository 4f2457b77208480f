// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"os/exec"
	"testing"
)

func TestAProcessIsKnownByItsStartAndItsBoot(t *testing.T) {
	own, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !own.Alive() {
		t.Error("this process is not alive")
	}
	later, elsewhere := own, own
	later.Start++
	elsewhere.Boot = "before the reboot"
	for name, p := range map[string]Process{"another start": later, "another boot": elsewhere, "nobody": {}} {
		if p.Alive() {
			t.Errorf("%s passes for this process", name)
		}
		if err := p.Kill(); err != nil {
			t.Errorf("killing %s, who is gone: %v", name, err)
		}
	}
}

func TestAProcessThatIsKilledIsNotAliveEvenBeforeItIsBuried(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	for p.Alive() { // Ends when the kernel has made it a zombie; nobody has waited for it.
	}
	if err := child.Wait(); err == nil {
		t.Error("it ended well")
	}
}

func TestStatIsReadWhateverTheCommandIsCalled(t *testing.T) {
	state, start, err := parseStat("7 (a) b) 1 2 (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 99")
	if err != nil || state != "S" || start != 4242 {
		t.Errorf("got %q, %d, %v", state, start, err)
	}
	if _, _, err := parseStat("7 (short) S 1"); err == nil {
		t.Error("a short line was read")
	}
}
