package wire

// Encode is the frame of a message, for peers that the tests play themselves.
func Encode(m Message) []byte { return encode(m, 256) }
