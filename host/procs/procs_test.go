package procs

import (
	"runtime"
	"testing"
)

func TestOversubscribe(t *testing.T) {
	found := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(found)
	if Cores() != found {
		t.Fatalf("%d cores, Go found %d", Cores(), found)
	}
	t.Setenv("GOMAXPROCS", "1")
	Oversubscribe()
	if got := runtime.GOMAXPROCS(0); got != found {
		t.Errorf("GOMAXPROCS is %d against the environment, was %d", got, found)
	}
	t.Setenv("GOMAXPROCS", "")
	Oversubscribe()
	if got := runtime.GOMAXPROCS(0); got != perCore*found || Cores() != found {
		t.Errorf("GOMAXPROCS is %d with %d cores, want %d with %d", got, Cores(), perCore*found, found)
	}
}
