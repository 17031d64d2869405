package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// RunsFileName is the file of a data directory that says which process runs on
// it, and which ones did not end in order: RUNS.md.
const RunsFileName = "runs.json"

const (
	// runsVersion is the version of the file that is written and read.
	runsVersion = 1
	// maxRunsBytes bounds the file, bytes.
	maxRunsBytes = 64 << 10
	// MaxUnclean is how many runs that did not end in order are remembered.
	MaxUnclean = 10
)

// Run is one process on a data directory.
type Run struct {
	Started uint64 `json:"started"` // ms
	PID     int    `json:"pid"`
	Program string `json:"program"` // its version
	Role    string `json:"role"`
	RPC     string `json:"rpc,omitempty"`   // address of its RPC port
	Token   string `json:"token,omitempty"` // of its admin routes
}

// Unclean is a run that ended without a word: killed, crashed, or the power went.
type Unclean struct {
	Run
	Found uint64 `json:"found"` // when the next run noticed, ms
}

// Runs is the file.
type Runs struct {
	Version int       `json:"version"`
	Running *Run      `json:"running"` // null: the last run ended in order
	Unclean []Unclean `json:"unclean"` // newest last, at most MaxUnclean
}

// ErrRuns is wrapped when the file cannot be understood.
var ErrRuns = errors.New("not a file of runs")

// ReadRuns reads the file of a data directory; one that is not there is empty.
func ReadRuns(dir string) (Runs, error) {
	v := Runs{Version: runsVersion}
	name := filepath.Join(dir, RunsFileName)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, nil
	case err != nil:
		return v, err
	case info.Size() > maxRunsBytes:
		return v, fmt.Errorf("%w: %s has %d bytes, limit %d", ErrRuns, name, info.Size(), maxRunsBytes)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return Runs{Version: runsVersion}, fmt.Errorf("%w: %s: %w", ErrRuns, name, err)
	}
	if v.Version != runsVersion || len(v.Unclean) > MaxUnclean {
		return Runs{Version: runsVersion}, fmt.Errorf("%w: %s has version %d and %d entries, want %d and at most %d", ErrRuns, name, v.Version, len(v.Unclean), runsVersion, MaxUnclean)
	}
	return v, nil
}

// runs keeps the file of the directory that this process has locked. The node
// can do without it: what fails is logged.
type runs struct {
	dir  string
	log  *slog.Logger
	file Runs
}

// openRuns reads what was left, and reports a run that did not end in order.
func openRuns(dir string, log *slog.Logger) *runs {
	r := &runs{dir: dir, log: log}
	var err error
	if r.file, err = ReadRuns(dir); err != nil {
		log.Warn("the file of runs is begun anew", "error", err)
	}
	last := r.file.Running
	if last == nil {
		return r
	}
	log.Warn("the last run did not end in order: what it had answered is recovered", "started", rfc3339(last.Started), "pid", last.PID, "program", last.Program)
	last.Token = ""
	r.file.Unclean = append(r.file.Unclean, Unclean{*last, nowMs()})
	r.file.Unclean = r.file.Unclean[max(0, len(r.file.Unclean)-MaxUnclean):]
	r.file.Running = nil
	return r
}

// begin notes that this process runs.
func (r *runs) begin(role, rpc string) {
	run := &Run{Started: nowMs(), PID: os.Getpid(), Program: Version, Role: role, RPC: rpc}
	if rpc != "" {
		run.Token = rand.Text()
	}
	r.file.Running = run
	if err := r.write(); err != nil {
		run.Token = "" // nobody could read it
		r.log.Warn("the run was not noted: no admin routes, and a crash would not be noticed", "error", err)
	}
}

// token is what the admin routes ask for; empty: there are none.
func (r *runs) token() string { return r.file.Running.Token }

// end notes that this process ended in order.
func (r *runs) end() {
	r.file.Running = nil
	if err := r.write(); err != nil {
		r.log.Warn("the end of the run was not noted", "error", err)
	}
}

// unclean is how many runs that did not end in order are remembered.
func (r *runs) unclean() int { return len(r.file.Unclean) }

// write replaces the file. A crash leaves the old one or the new one.
func (r *runs) write() error {
	if r.file.Unclean == nil {
		r.file.Unclean = []Unclean{} // a list in JSON too
	}
	b, err := json.MarshalIndent(&r.file, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(r.dir, RunsFileName)
	tmp, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	return os.Rename(tmp.Name(), name)
}

func rfc3339(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<60))).UTC().Format(time.RFC3339)
}
