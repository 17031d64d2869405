package lanes

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
)

// bothWays runs a test with the lanes, if this processor has them, and without.
func bothWays(t *testing.T, test func(t *testing.T)) {
	had := wide
	t.Cleanup(func() { wide = had })
	for _, way := range []bool{had, false} {
		wide = way
		t.Run(fmt.Sprintf("wide=%t", way), test)
	}
}

// check hashes messages in one go, as short ones and as long ones, and compares with
// crypto/sha256. Around every result are bytes that must stay as they are.
func check(t *testing.T, h *Hasher, messages [][]byte) {
	t.Helper()
	const guard = 0xa5
	out := make([][3][32]byte, len(messages))
	for i, m := range messages {
		for j := range out[i] {
			out[i][j] = [32]byte(bytes.Repeat([]byte{guard}, 32))
		}
		h.Sum(m, &out[i][1])
	}
	h.Flush()
	for i, m := range messages {
		if want := sha256.Sum256(m); out[i][1] != want {
			t.Fatalf("message %d of %d, %d bytes: %x, want %x", i, len(messages), len(m), out[i][1], want)
		}
		for _, j := range []int{0, 2} {
			if out[i][j] != [32]byte(bytes.Repeat([]byte{guard}, 32)) {
				t.Fatalf("message %d of %d, %d bytes: written beside the result", i, len(messages), len(m))
			}
		}
	}
	checkLong(t, messages)
}

func checkLong(t *testing.T, messages [][]byte) {
	t.Helper()
	sums := make([][32]byte, len(messages))
	Long(messages, sums, func() {})
	for i, m := range messages {
		if want := sha256.Sum256(m); sums[i] != want {
			t.Fatalf("message %d of %d, %d bytes, as a long one: %x, want %x", i, len(messages), len(m), sums[i], want)
		}
	}
}

func random(rng *rand.Rand, size int) []byte {
	m := make([]byte, size)
	for i := range m {
		m[i] = byte(rng.Uint32())
	}
	return m
}

// TestEveryLengthAndCount has every length up to some beyond what lanes take, in
// numbers of messages around those where something changes.
func TestEveryLengthAndCount(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		rng, h := rand.New(rand.NewPCG(1, 1)), new(Hasher)
		for size := range (maxBlocks+1)*blockBytes + 2 {
			for _, count := range []int{0, 1, minLanes - 1, minLanes, Lanes - 1, Lanes, Lanes + 1, 2*Lanes + minLanes} {
				messages := make([][]byte, count)
				for i := range messages {
					messages[i] = random(rng, size)
				}
				check(t, h, messages)
			}
		}
	})
}

// TestMixedLengths shares one Hasher among lengths that leave each other's padding
// behind, as the state does.
func TestMixedLengths(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		rng, h := rand.New(rand.NewPCG(2, 2)), new(Hasher)
		for range 500 {
			messages := make([][]byte, rng.IntN(100))
			for i := range messages {
				messages[i] = random(rng, rng.IntN(4*blockBytes))
			}
			check(t, h, messages)
		}
	})
}

// TestLong has more messages than lanes and messages of many strides, beside short
// ones, so that lanes come free at every time; the caller is let in between.
func TestLong(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		for _, count := range []int{minLanes - 1, minLanes, Lanes, 3 * Lanes} {
			for _, most := range []int{blockBytes, 10 * blockBytes, 2 * stride * blockBytes} {
				messages := make([][]byte, count)
				for i := range messages {
					messages[i] = random(rng, rng.IntN(most))
				}
				messages[0] = random(rng, 2*most)
				checkLong(t, messages)
			}
		}
	})
}

// TestLongLetsOthersIn at least once in every stride.
func TestLongLetsOthersIn(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		messages, sums, times := make([][]byte, Lanes), make([][32]byte, Lanes), 0
		for i := range messages {
			messages[i] = make([]byte, 5*stride*blockBytes)
		}
		if Long(messages, sums, func() { times++ }); times < 5 {
			t.Errorf("%d times", times)
		}
	})
}

// TestLanesAreApart changes one bit of one message: no other hash may change.
func TestLanesAreApart(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		rng, h := rand.New(rand.NewPCG(3, 3)), new(Hasher)
		messages := make([][]byte, Lanes)
		for i := range messages {
			messages[i] = random(rng, 66)
		}
		for bit := range 66 * 8 {
			m := messages[bit%Lanes]
			m[bit/8] ^= 1 << (bit % 8)
			check(t, h, messages)
		}
	})
}

// TestSameMessageTwice: one message for several results, and none.
func TestSameMessageTwice(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := []byte("abc")
		check(t, new(Hasher), [][]byte{m, m, m, m, m, m, nil, nil})
	})
}

// TestKnownAnswer is the example of FIPS 180-4 with two blocks, independent of
// crypto/sha256.
func TestKnownAnswer(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := []byte("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
		var h Hasher
		var out [Lanes][32]byte
		for i := range out {
			h.Sum(m, &out[i])
		}
		h.Flush()
		for i := range out {
			if got := hex.EncodeToString(out[i][:]); got != "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" {
				t.Fatalf("lane %d: %s", i, got)
			}
		}
	})
}

// FuzzSum cuts its input into messages of one length and a rest.
func FuzzSum(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add(bytes.Repeat([]byte{0xff}, 17*66+5), uint8(66))
	f.Add(bytes.Repeat([]byte{0}, 16*65), uint8(65))
	f.Add([]byte("the quick brown fox jumps over the lazy dog"), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		var messages [][]byte
		for size > 0 && len(data) > int(size) {
			messages, data = append(messages, data[:size]), data[size:]
		}
		check(t, new(Hasher), append(messages, data))
	})
}

func BenchmarkSum(b *testing.B) {
	var messages [64][128]byte
	var out [64][32]byte
	for _, size := range []int{21, 65, 66, 80} {
		b.Run(fmt.Sprintf("%d/lanes", size), func(b *testing.B) {
			h := new(Hasher)
			for i := 0; b.Loop(); i++ {
				h.Sum(messages[i%64][:size], &out[i%64])
			}
		})
		b.Run(fmt.Sprintf("%d/std", size), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				out[i%64] = sha256.Sum256(messages[i%64][:size])
			}
		})
	}
}

// BenchmarkLong hashes what waits of a snapshot: chunks, and their files.
func BenchmarkLong(b *testing.B) {
	var messages [][]byte
	for i := range Lanes {
		messages = append(messages, make([]byte, 1<<20>>(2*i/Lanes)-4099*i))
	}
	size := 0
	for _, m := range messages {
		size += len(m)
	}
	sums := make([][32]byte, Lanes)
	b.Run("lanes", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			Long(messages, sums, func() {})
		}
	})
	b.Run("std", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			for i, m := range messages {
				sums[i] = sha256.Sum256(m)
			}
		}
	})
}

// BenchmarkFew is where minLanes comes from.
func BenchmarkFew(b *testing.B) {
	var messages [Lanes][66]byte
	var out [Lanes][32]byte
	for count := 2; count <= 6; count++ {
		b.Run(fmt.Sprint(count, "/lanes"), func(b *testing.B) {
			h := new(Hasher)
			for b.Loop() {
				for i := range count {
					h.Sum(messages[i][:], &out[i])
				}
				h.fill(&h.queues[1], 2)
			}
		})
		b.Run(fmt.Sprint(count, "/std"), func(b *testing.B) {
			for b.Loop() {
				for i := range count {
					out[i] = sha256.Sum256(messages[i][:])
				}
			}
		})
	}
}
