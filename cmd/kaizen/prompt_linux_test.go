package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func ioctl(t *testing.T, f *os.File, request uintptr, to unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(to)); errno != 0 {
		t.Fatalf("ioctl %#x: %v", request, errno)
	}
}

// terminal is a pseudo-terminal: its keyboard and screen, and the end that a
// program sees.
func terminal(t *testing.T) (us, program *os.File) {
	us, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Skipf("this container or sandbox has no pseudo-terminals (devpts is not mounted, or not for us): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { us.Close() })
	var locked, number int32
	ioctl(t, us, syscall.TIOCSPTLCK, unsafe.Pointer(&locked))
	ioctl(t, us, syscall.TIOCGPTN, unsafe.Pointer(&number))
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return us, program
}

// shows reads a screen until a text is on it, and returns all that was.
func shows(t *testing.T, screen *os.File, want string) string {
	t.Helper()
	var seen strings.Builder
	for b := make([]byte, 256); !strings.Contains(seen.String(), want); {
		n, err := screen.Read(b)
		if err != nil {
			t.Fatalf("the screen ended with %q, want %q: %v", seen.String(), want, err)
		}
		seen.Write(b[:n])
	}
	return seen.String()
}

// startKeyNew runs "kaizen key new" on a terminal of its own.
func startKeyNew(t *testing.T, program *os.File, dir string) *exec.Cmd {
	t.Helper()
	c := exec.Command("kaizen", "key", "new", "--light", "--keys", dir)
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill() })
	return c
}

// TestInterruptedPrompt: one Ctrl-C ends a question for a password, and what is
// typed next is seen again.
func TestInterruptedPrompt(t *testing.T) {
	us, program := terminal(t)
	c := startKeyNew(t, program, t.TempDir())
	shows(t, us, "new password: ")
	if _, err := us.WriteString("correct horse\r"); err != nil {
		t.Fatal(err)
	}
	shows(t, us, "once more: ")
	if _, err := us.WriteString("correct\x03"); err != nil {
		t.Fatal(err)
	}
	shows(t, us, "interrupted")
	if got := exitCode(c.Wait()); got != 1 {
		t.Errorf("exit code %d, want 1", got)
	}
	var state syscall.Termios
	ioctl(t, program, syscall.TCGETS, unsafe.Pointer(&state))
	if state.Lflag&syscall.ECHO == 0 {
		t.Error("the terminal no longer shows what is typed")
	}
}

// TestTypedAhead: both answers may come at once, and neither is shown.
func TestTypedAhead(t *testing.T) {
	us, program := terminal(t)
	dir := t.TempDir()
	c := startKeyNew(t, program, dir)
	shows(t, us, "new password: ")
	if _, err := us.WriteString("correct horse\rcorrect horse\r"); err != nil {
		t.Fatal(err)
	}
	if seen := shows(t, us, dir); strings.Contains(seen, "horse") {
		t.Errorf("the password is on the screen: %q", seen)
	}
	if got := exitCode(c.Wait()); got != 0 {
		t.Errorf("exit code %d", got)
	}
}
