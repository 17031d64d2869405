package secp

import (
	"sync"

	"github.com/kaizenchain/kaizen/host/secp/internal/lanes"
	"github.com/kaizenchain/kaizen/host/stf"
)

// minLanes is the least number of signatures for which the lanes are faster than
// libsecp256k1 one after the other (BenchmarkFew).
const minLanes = 2

// wide says that signatures are recovered side by side. Only tests change it.
var wide = lanes.Available()

// RecoverAll implements stf.Crypto.
func (Crypto) RecoverAll(signers []*stf.Signer) { RecoverAll(signers) }

// RecoverAll sets Address and OK of each signer to what [Recover] says of its Digest
// and Sig. Two or more at once are faster on processors with AVX-512 IFMA.
func RecoverAll(signers []*stf.Signer) {
	if !wide || len(signers) < minLanes {
		for _, s := range signers {
			s.Address, s.OK = Recover(&s.Digest, &s.Sig)
		}
		return
	}
	b := batches.Get().(*batch)
	for len(signers) > 0 {
		n := min(len(signers), lanes.MaxJobs)
		b.recover(signers[:n])
		signers = signers[n:]
	}
	batches.Put(b)
}

// batch is what one call recovers with.
type batch struct {
	lanes   lanes.Batch
	jobs    [lanes.MaxJobs]lanes.Job
	signers [lanes.MaxJobs]*stf.Signer // of the jobs
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) recover(signers []*stf.Signer) {
	n := 0
	for _, s := range signers {
		v, ok := parity(&s.Sig)
		s.Address, s.OK = [20]byte{}, false
		if !ok {
			continue
		}
		b.jobs[n] = lanes.Job{Digest: &s.Digest, RS: (*[64]byte)(s.Sig[:64]), Odd: v == 1}
		b.signers[n] = s
		n++
	}
	b.lanes.Recover(b.jobs[:n])
	for i, s := range b.signers[:n] {
		switch j := &b.jobs[i]; j.Verdict {
		case lanes.Valid:
			s.Address, s.OK = j.Address, true
		case lanes.Unsure:
			s.Address, s.OK = Recover(&s.Digest, &s.Sig)
		}
	}
	clear(b.jobs[:n])
	clear(b.signers[:n])
}
