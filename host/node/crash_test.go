package node

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// crashDir, if set, makes this test binary a write node on that directory, to be
// killed.
const crashDir = "KAIZEN_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := runCrashWriter(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(bootDir); dir != "" {
		if err := runBootReader(dir, os.Getenv(bootFrom)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runCrashWriter(dir string) error {
	w, err := NewWriter(context.Background(), testConfig(dir, testGenesis()), deps())
	if err != nil {
		return err
	}
	rpc, _ := w.Addrs()
	fmt.Println(rpc)
	return w.Run(context.Background())
}

// startProcess starts a write node in a process of its own and returns its RPC
// address.
func startProcess(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if addr = strings.TrimSpace(addr); addr == "" {
		t.Fatal("the write node did not start")
	}
	return cmd, "http://" + addr
}

type answered struct {
	raw    string
	height uint64
	index  uint64
	code   string
}

// TestKill is invariant 2 with real processes: whatever moment kill -9 hits,
// every transaction that was answered is there after the restart, at the same
// height and index, with the same outcome, and the chain goes on.
func TestKill(t *testing.T) {
	dir := initDir(t, testGenesis())
	rng := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	var mu sync.Mutex
	all := map[chain.Hash]answered{}
	for round := range 5 {
		cmd, url := startProcess(t, dir)
		checkAnswered(t, url, all)
		var wg sync.WaitGroup
		for s := range 4 {
			wg.Go(func() { submitUntilDead(t, url, round, s, &mu, all) })
		}
		kill := time.NewTimer(time.Duration(rng.IntN(120)) * time.Millisecond)
		<-kill.C
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		wg.Wait()
	}
	cmd, url := startProcess(t, dir)
	checkAnswered(t, url, all)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if len(all) < 50 {
		t.Fatalf("only %d transactions were answered", len(all))
	}
	if _, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1}); err != nil {
		t.Fatal(err)
	}
}

// submitUntilDead sends until the node is gone, and notes what was answered.
func submitUntilDead(t *testing.T, url string, round, submitter int, mu *sync.Mutex, all map[chain.Hash]answered) {
	c, err := client.New(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for i := 0; ; i++ {
		lines := []string{fmt.Sprintf("set k%d %d-%d-%d", i%9, round, submitter, i), fmt.Sprintf("count c%d-%d-%d", round, submitter, i), fmt.Sprintf("fail %d-%d-%d", round, submitter, i)}
		raws := make([][]byte, len(lines))
		for j := range lines {
			raws[j] = []byte(lines[j])
		}
		receipts, err := c.SendTransactions(context.Background(), raws)
		if err != nil {
			return
		}
		mu.Lock()
		for j, r := range receipts {
			code := ""
			if r.Error != nil {
				code = *r.Error
			}
			all[r.TxHash] = answered{lines[j], r.Height, r.Index, code}
		}
		mu.Unlock()
	}
}

func checkAnswered(t *testing.T, url string, all map[chain.Hash]answered) {
	t.Helper()
	c, err := client.New(url)
	must(t, err)
	defer c.Close()
	for id, want := range all {
		got, err := c.Transaction(within(t), id)
		if err != nil {
			t.Fatalf("%q, answered at %d/%d: %v", want.raw, want.height, want.index, err)
		}
		code := ""
		if got.Error != nil {
			code = *got.Error
		}
		if have := (answered{string(got.Raw), got.Height, got.Index, code}); have != want {
			t.Fatalf("%s: answered as %+v, now %+v (raw %s)", id, want, have, hex.EncodeToString(got.Raw))
		}
	}
}
