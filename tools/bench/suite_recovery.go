package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

const (
	recoveryLimit = "go-ethereum's libsecp256k1, all cores"
	sampleCount   = 1024 // different signatures for raw recovery
	sampleChunk   = 16   // of them in one call, where many go at once: as a node does
)

// signatures are transactions to recover, made once.
func (b *bench) signatures() []signed {
	if b.samples == nil {
		w := newWallets(minAccounts)
		b.samples = w.transfers(sampleCount, 1, func(i int) int { return i % minAccounts })
	}
	return b.samples
}

// recoveries is how many signers a second goroutines recover with go-ethereum's
// package, each on a core.
func (b *bench) recoveries(goroutines int) (float64, error) {
	samples := b.signatures()
	var done, wrong atomic.Int64
	before, _ := usage()
	elapsed := during(b.slice()/2, goroutines, func(g int) func() {
		i := g * len(samples) / goroutines
		return func() {
			s := &samples[i%len(samples)]
			i++
			if a, ok := secp.RecoverReference(&s.digest, &s.sig); !ok || a != s.from {
				wrong.Add(1)
			}
		}
	}, &done)
	if n := wrong.Load(); n > 0 {
		return 0, fmt.Errorf("%d signatures recovered to another signer", n)
	}
	after, _ := usage()
	b.recover1 = microseconds(after-before) / float64(done.Load())
	return perSecond(int(done.Load()), elapsed), nil
}

// recoveriesAtOnce is how many signers a second all cores recover as a node does,
// many with one call, and the processor time of each, µs.
func (b *bench) recoveriesAtOnce() (rate, cpu float64, err error) {
	samples, cores := b.signatures(), runtime.GOMAXPROCS(0)
	var done, wrong atomic.Int64
	before, _ := usage()
	elapsed := during(b.slice()/2, cores, func(g int) func() {
		i := g * len(samples) / cores
		var signers [sampleChunk]stf.Signer
		var all [sampleChunk]*stf.Signer
		return func() {
			for k := range signers {
				s := &samples[(i+k)%len(samples)]
				signers[k] = stf.Signer{Signature: abi.Signature{Digest: s.digest, Sig: s.sig}}
				all[k] = &signers[k]
			}
			secp.RecoverAll(all[:])
			for k := range signers {
				if s := &samples[(i+k)%len(samples)]; !signers[k].OK || signers[k].Address != s.from {
					wrong.Add(1)
				}
			}
			i += sampleChunk
		}
	}, &done)
	if n := wrong.Load(); n > 0 {
		return 0, 0, fmt.Errorf("%d signatures recovered at once to another signer", n)
	}
	after, _ := usage()
	n := sampleChunk * int(done.Load())
	return perSecond(n, elapsed), microseconds(after-before) / float64(n), nil
}

// byTime is a rate by processor time: what all cores would do if they did nothing
// else. It hides waiting, and what other programs on the machine take.
func byTime(suite, name string, cpu, limits []float64) Figure {
	all := float64(runtime.GOMAXPROCS(0)) * 1e6
	rounds := make([]round, len(cpu))
	for i := range cpu {
		rounds[i] = round{all / cpu[i], all / limits[i]}
	}
	return rated(suite, name+", by processor time", "1/s", recoveryLimit+", by processor time", "1/s", rounds)
}

// limit is recovery on all cores: what everything with signatures is measured by.
func (b *bench) limit() (float64, error) { return b.recoveries(runtime.GOMAXPROCS(0)) }

// during calls what start returns again and again on each goroutine until d has
// passed, counts the calls in done, and returns the time it took.
func during(d time.Duration, goroutines int, start func(g int) func(), done *atomic.Int64) time.Duration {
	const between = 16 // calls between two looks at the clock
	var all sync.WaitGroup
	begin := time.Now()
	for g := range goroutines {
		all.Go(func() {
			call, n := start(g), 0
			for time.Since(begin) < d {
				for range between {
					call()
				}
				n += between
			}
			done.Add(int64(n))
		})
	}
	all.Wait()
	return time.Since(begin)
}

// recovery is the limit itself, how far cores add up, and what the nodes do instead.
func (b *bench) recovery() error {
	cores := runtime.GOMAXPROCS(0)
	rounds, err := b.repeat(func() (float64, error) {
		one, err := b.recoveries(1)
		return one * float64(cores), err
	}, b.limit)
	if err != nil {
		return err
	}
	b.add(rated("recovery", "signers recovered, all cores", "1/s", fmt.Sprintf("one core × %d", cores), "1/s", rounds).
		noted("secp.RecoverReference: libsecp256k1 and one Keccak-256; the limit of everything below"))
	return b.lanes()
}

// lanes is what the nodes recover with instead.
func (b *bench) lanes() error {
	var cpu, limits []float64
	rounds, err := b.repeat(b.limit, func() (float64, error) {
		rate, each, err := b.recoveriesAtOnce()
		cpu, limits = append(cpu, each), append(limits, b.recover1)
		return rate, err
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("signers recovered by Kaizen's lanes, %d at once", sampleChunk)
	b.add(rated("recovery", name, "1/s", recoveryLimit, "1/s", rounds).
		noted("secp.RecoverAll, which the nodes use; without AVX-512 IFMA it is the limit"),
		byTime("recovery", name, cpu, limits))
	return nil
}

// sha256Limit is SHA-256 of 64 bytes, one inner node of a tree, on all cores.
func (b *bench) sha256Limit() (float64, error) {
	var done atomic.Int64
	elapsed := during(b.slice()/4, runtime.GOMAXPROCS(0), func(g int) func() {
		in := [64]byte{byte(g)}
		return func() {
			sum := sha256.Sum256(in[:])
			copy(in[:], sum[:])
		}
	}, &done)
	return perSecond(int(done.Load()), elapsed), nil
}
