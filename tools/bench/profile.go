package main

import (
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Split is where processor time went, by profile.
type Split struct {
	Of     string  `json:"of"`
	Shares []Share `json:"shares"` // largest first
}

// Share is one part of it.
type Share struct {
	Name    string  `json:"name"`
	Percent float64 `json:"percent"`
}

// kinds says what a function is part of: the first rule that fits the innermost
// frame that any rule fits. Frames are looked at from the inside out.
var kinds = []struct {
	kind     string
	prefixes []string
}{
	{"signature recovery", []string{"github.com/ethereum/go-ethereum/crypto/secp256k1.", "github.com/kaizenchain/kaizen/host/secp/internal/lanes."}},
	{"Keccak-256", []string{"github.com/ethereum/go-ethereum/crypto/keccak.", "golang.org/x/crypto/sha3.", "github.com/ethereum/go-ethereum/crypto.Keccak256"}},
	{"SHA-256", []string{"crypto/sha256.", "crypto/internal/fips140/sha256."}},
	{"WASM", []string{"runtime._ExternalCode", "github.com/tetratelabs/wazero/"}},
	{"garbage collection", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{"allocation", []string{"runtime.mallocgc", "runtime.newobject", "runtime.makeslice", "runtime.growslice"}},
	{"state", []string{"github.com/kaizenchain/kaizen/host/state"}},
	{"disk", []string{"github.com/kaizenchain/kaizen/host/store"}},
	{"network and JSON-RPC", []string{"github.com/kaizenchain/kaizen/host/rpc", "github.com/kaizenchain/kaizen/host/wire", "net/http.", "net.", "github.com/coder/websocket."}},
	{"load generator", []string{"main."}},
	{"execution outside of WASM", []string{"github.com/kaizenchain/kaizen/host/wasm", "github.com/kaizenchain/kaizen/host/stf", "github.com/kaizenchain/kaizen/host/sequencer"}},
	{"node loops", []string{"github.com/kaizenchain/kaizen/host/"}},
	{"scheduler", []string{"runtime."}},
}

func kindOf(frames []string) string {
	for _, name := range frames {
		for i := range kinds[:len(kinds)-1] {
			for _, prefix := range kinds[i].prefixes {
				if strings.HasPrefix(name, prefix) {
					return kinds[i].kind
				}
			}
		}
	}
	for _, name := range frames {
		if strings.HasPrefix(name, kinds[len(kinds)-1].prefixes[0]) {
			return kinds[len(kinds)-1].kind
		}
	}
	return "other"
}

// maxProfileBytes bounds a profile, decompressed.
const maxProfileBytes = 64 << 20

// readShares reads a processor profile.
func readShares(file string) ([]Share, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	b, err := io.ReadAll(io.LimitReader(z, maxProfileBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p, err := parseProfile(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p.shares(), nil
}

// profile is what is needed of a pprof protocol buffer (profile.proto).
type profile struct {
	texts     []string
	functions map[uint64]uint64   // id: index of the name in texts
	locations map[uint64][]uint64 // id: functions, innermost first
	samples   []profileSample
}

type profileSample struct {
	locations []uint64 // innermost first
	value     int64    // of the last type: ns
}

func (p *profile) shares() []Share {
	sums := map[string]int64{}
	total := int64(0)
	for _, s := range p.samples {
		var frames []string
		for _, l := range s.locations {
			for _, f := range p.locations[l] {
				frames = append(frames, p.text(p.functions[f]))
			}
		}
		sums[kindOf(frames)] += s.value
		total += s.value
	}
	var shares []Share
	for name, v := range sums {
		shares = append(shares, Share{name, float64(v) / float64(total) * 100})
	}
	slices.SortFunc(shares, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent), strings.Compare(a.Name, b.Name))
	})
	return shares
}

func (p *profile) text(i uint64) string {
	if i >= uint64(len(p.texts)) {
		return ""
	}
	return p.texts[i]
}

// Field numbers of profile.proto.
const (
	profileSampleField, profileLocation, profileFunction, profileText = 2, 4, 5, 6
	sampleLocations, sampleValues                                     = 1, 2
	locationID, locationLine                                          = 1, 4
	lineFunction                                                      = 1
	functionID, functionName                                          = 1, 2
)

func parseProfile(b []byte) (*profile, error) {
	p := &profile{functions: map[uint64]uint64{}, locations: map[uint64][]uint64{}}
	err := fields(b, func(field int, v uint64, inner []byte) error {
		switch field {
		case profileText:
			p.texts = append(p.texts, string(inner))
		case profileSampleField:
			return p.addSample(inner)
		case profileLocation:
			return p.addLocation(inner)
		case profileFunction:
			return p.addFunction(inner)
		}
		return nil
	})
	return p, err
}

func (p *profile) addSample(b []byte) error {
	var s profileSample
	err := fields(b, func(field int, v uint64, inner []byte) error {
		all, err := packed(v, inner)
		switch {
		case err != nil || len(all) == 0:
		case field == sampleLocations:
			s.locations = append(s.locations, all...)
		case field == sampleValues:
			s.value = int64(all[len(all)-1])
		}
		return err
	})
	p.samples = append(p.samples, s)
	return err
}

func (p *profile) addLocation(b []byte) error {
	var id uint64
	var functions []uint64
	err := fields(b, func(field int, v uint64, inner []byte) error {
		switch field {
		case locationID:
			id = v
		case locationLine:
			return fields(inner, func(field int, v uint64, _ []byte) error {
				if field == lineFunction {
					functions = append(functions, v)
				}
				return nil
			})
		}
		return nil
	})
	p.locations[id] = functions
	return err
}

func (p *profile) addFunction(b []byte) error {
	var id, name uint64
	err := fields(b, func(field int, v uint64, _ []byte) error {
		switch field {
		case functionID:
			id = v
		case functionName:
			name = v
		}
		return nil
	})
	p.functions[id] = name
	return err
}

var errProtobuf = errors.New("not a protocol buffer")

// fields calls visit for each field of a message: a number, or the bytes of one
// that has a length.
func fields(b []byte, visit func(field int, v uint64, inner []byte) error) error {
	const varint, fixed64, lengthed, fixed32 = 0, 1, 2, 5
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return errProtobuf
		}
		b = b[n:]
		var v uint64
		var inner []byte
		switch key & 7 {
		case varint, lengthed:
			if v, n = binary.Uvarint(b); n <= 0 {
				return errProtobuf
			}
			b = b[n:]
			if key&7 == lengthed {
				if v > uint64(len(b)) {
					return errProtobuf
				}
				inner, b = b[:v:v], b[v:]
			}
		case fixed64, fixed32:
			size := map[uint64]int{fixed64: 8, fixed32: 4}[key&7]
			if len(b) < size {
				return errProtobuf
			}
			b = b[size:]
		default:
			return errProtobuf
		}
		if err := visit(int(key>>3), v, inner); err != nil {
			return err
		}
	}
	return nil
}

// packed is a repeated number, packed or alone.
func packed(v uint64, inner []byte) ([]uint64, error) {
	if inner == nil {
		return []uint64{v}, nil
	}
	var all []uint64
	for len(inner) > 0 {
		v, n := binary.Uvarint(inner)
		if n <= 0 {
			return nil, errProtobuf
		}
		all, inner = append(all, v), inner[n:]
	}
	return all, nil
}
