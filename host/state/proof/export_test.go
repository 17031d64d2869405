package proof

// DecodeMultiOf is DecodeMulti with another limit of nodes: the real one takes a
// second to reach.
var DecodeMultiOf = decodeMulti
