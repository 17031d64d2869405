//go:build unix

package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// usage is the processor time of this process and the most memory it ever had. That
// is asked of /proc where there is one: what getrusage says includes what the parent
// had when it started this process, because they share memory up to exec.
func usage() (cpu time.Duration, maxRSS int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	maxRSS = int64(u.Maxrss)
	if runtime.GOOS != "darwin" {
		maxRSS <<= 10 // KiB elsewhere
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), highestResident(maxRSS)
}

// highestResident is VmHWM of /proc/self/status, otherwise where there is none.
func highestResident(otherwise int64) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return otherwise
	}
	_, line, _ := bytes.Cut(b, []byte("\nVmHWM:"))
	fields := bytes.Fields(line)
	if len(fields) < 2 || string(fields[1]) != "kB" {
		return otherwise
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return otherwise
	}
	return kib << 10
}

// residentBytes is the memory that this process has now, otherwise where the
// system does not say.
func residentBytes(otherwise int64) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return otherwise
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return otherwise
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return otherwise
	}
	return pages * int64(os.Getpagesize())
}
