//go:build !linux

package wasm

// newBacking makes a backing of img.
func newBacking(img []byte) (backing, error) {
	return portableBacking{img: append([]byte(nil), img...)}, nil
}
