//go:build !wasip1

package query

// ParseState reads the name of a state or group.
func ParseState(name string) (State, bool) {
	for i, n := range StateNames {
		if n == name {
			return State(i), true
		}
	}
	return 0, false
}
