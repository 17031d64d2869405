#include "textflag.h"

// SHA-256 of sixteen messages at once. A ZMM register holds one 32-bit word of each
// message: lane i of every register belongs to message i. So the code below is
// FIPS 180-4 as for one message, with every word sixteen wide and no shuffling between
// rounds.
//
//	Z0  to Z7   the working variables a to h
//	Z8  to Z23  the schedule, W[t] in Z(8 + t mod 16)
//	Z24 to Z31  scratch

// The round constants, FIPS 180-4 section 4.2.2.
DATA constants<>+0x00(SB)/8, $0x71374491428a2f98
DATA constants<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA constants<>+0x10(SB)/8, $0x59f111f13956c25b
DATA constants<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA constants<>+0x20(SB)/8, $0x12835b01d807aa98
DATA constants<>+0x28(SB)/8, $0x550c7dc3243185be
DATA constants<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA constants<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA constants<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA constants<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA constants<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA constants<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA constants<>+0x60(SB)/8, $0xa831c66d983e5152
DATA constants<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA constants<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA constants<>+0x78(SB)/8, $0x1429296706ca6351
DATA constants<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA constants<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA constants<>+0x90(SB)/8, $0x766a0abb650a7354
DATA constants<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA constants<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA constants<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA constants<>+0xb0(SB)/8, $0xd6990624d192e819
DATA constants<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA constants<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA constants<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA constants<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA constants<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA constants<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA constants<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA constants<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA constants<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL constants<>(SB), RODATA|NOPTR, $256

// For VPSHUFB: reverses the bytes of every word, since the messages are big-endian.
DATA reverse<>+0x00(SB)/8, $0x0405060700010203
DATA reverse<>+0x08(SB)/8, $0x0c0d0e0f08090a0b
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// TRANSPOSE treats each 128-bit quarter of four registers as a 4 by 4 matrix of words
// and transposes it.
#define TRANSPOSE(a, b, c, d) \
	VPUNPCKLDQ  b, a, Z24   \
	VPUNPCKHDQ  b, a, Z25   \
	VPUNPCKLDQ  d, c, Z26   \
	VPUNPCKHDQ  d, c, Z27   \
	VPUNPCKLQDQ Z26, Z24, a \
	VPUNPCKHQDQ Z26, Z24, b \
	VPUNPCKLQDQ Z27, Z25, c \
	VPUNPCKHQDQ Z27, Z25, d

// QUARTERS puts the same 16 bytes of four messages into the quarters of a register.
#define QUARTERS(offset, x, z) \
	VMOVDQU32    offset(R8), x         \
	VINSERTI32X4 $1, offset(R9), z, z  \
	VINSERTI32X4 $2, offset(R10), z, z \
	VINSERTI32X4 $3, offset(R11), z, z

// LOAD reads messages i, i+4, i+8 and i+12: the first four words of each into the
// quarters of z0, and so on. p is 8*i.
#define LOAD(p, x0, z0, x1, z1, x2, z2, x3, z3) \
	MOVQ p(SI), R8      \
	MOVQ p+32(SI), R9   \
	MOVQ p+64(SI), R10  \
	MOVQ p+96(SI), R11  \
	QUARTERS(0, x0, z0) \
	QUARTERS(16, x1, z1) \
	QUARTERS(32, x2, z2) \
	QUARTERS(48, x3, z3)

// WORDS makes of four registers as LOAD leaves them four words of the schedule.
#define WORDS(a, b, c, d) \
	TRANSPOSE(a, b, c, d) \
	VPSHUFB Z31, a, a     \
	VPSHUFB Z31, b, b     \
	VPSHUFB Z31, c, c     \
	VPSHUFB Z31, d, d

// ROUND is one round. It leaves the new a in h and the new e in d: the next round
// takes the registers in the order h, a, b, c, d, e, f, g. k is the place of the round
// constant relative to BX.
//
//	h += K + W + Ch(e, f, g) + Σ1(e);  d += h;  h += Σ0(a) + Maj(a, b, c)
//
// The sums for d and h are made apart from each other, and what takes longest, Σ1 and
// Σ0, comes last in each: so the next round can begin two additions sooner.
//
// The tables of VPTERNLOGD: 0x96 is the sum of three bits, 0xca is Ch, 0xe8 is Maj.
#define ROUND(a, b, c, d, e, f, g, h, w, k) \
	VPADDD.BCST k(BX), w, Z24        \
	VPRORD      $6, e, Z25           \
	VPRORD      $11, e, Z26          \
	VPRORD      $25, e, Z27          \
	VMOVDQA32   e, Z28               \
	VPADDD      Z24, h, h            \
	VPTERNLOGD  $0xca, g, f, Z28     \
	VPTERNLOGD  $0x96, Z27, Z26, Z25 \
	VPADDD      h, d, d              \
	VPADDD      Z28, h, h            \
	VPADDD      Z28, d, d            \
	VPRORD      $2, a, Z29           \
	VPADDD      Z25, d, d            \
	VPRORD      $13, a, Z30          \
	VPRORD      $22, a, Z31          \
	VPADDD      Z25, h, h            \
	VMOVDQA32   a, Z24               \
	VPTERNLOGD  $0xe8, c, b, Z24     \
	VPTERNLOGD  $0x96, Z31, Z30, Z29 \
	VPADDD      Z24, h, h            \
	VPADDD      Z29, h, h

// SCHEDULE makes W[t+16] of W[t], in its place:
//
//	w0 += σ0(W[t+1]) + W[t+9] + σ1(W[t+14])
#define SCHEDULE(w0, w1, w9, w14) \
	VPRORD     $7, w1, Z24          \
	VPRORD     $18, w1, Z25         \
	VPSRLD     $3, w1, Z26          \
	VPADDD     w9, w0, w0           \
	VPTERNLOGD $0x96, Z26, Z25, Z24 \
	VPRORD     $17, w14, Z27        \
	VPRORD     $19, w14, Z28        \
	VPSRLD     $10, w14, Z29        \
	VPADDD     Z24, w0, w0          \
	VPTERNLOGD $0x96, Z29, Z28, Z27 \
	VPADDD     Z27, w0, w0

// func compressAVX512(state *[8][Lanes]uint32, block *[Lanes]*byte)
TEXT ·compressAVX512(SB), NOSPLIT, $0-16
	MOVQ state+0(FP), DI
	MOVQ block+8(FP), SI
	LEAQ constants<>(SB), BX

	// The sixteen words of every block, transposed: sixteen registers.
	LOAD(0, X8, Z8, X12, Z12, X16, Z16, X20, Z20)
	LOAD(8, X9, Z9, X13, Z13, X17, Z17, X21, Z21)
	LOAD(16, X10, Z10, X14, Z14, X18, Z18, X22, Z22)
	LOAD(24, X11, Z11, X15, Z15, X19, Z19, X23, Z23)
	VBROADCASTI32X4 reverse<>(SB), Z31
	WORDS(Z8, Z9, Z10, Z11)
	WORDS(Z12, Z13, Z14, Z15)
	WORDS(Z16, Z17, Z18, Z19)
	WORDS(Z20, Z21, Z22, Z23)

	// The working variables begin as the hash so far.
	VMOVDQU32 0(DI), Z0
	VMOVDQU32 64(DI), Z1
	VMOVDQU32 128(DI), Z2
	VMOVDQU32 192(DI), Z3
	VMOVDQU32 256(DI), Z4
	VMOVDQU32 320(DI), Z5
	VMOVDQU32 384(DI), Z6
	VMOVDQU32 448(DI), Z7

	// Rounds 0 to 47, sixteen at a time; each leaves the schedule's word for the
	// round sixteen later behind.
	MOVQ $3, CX

rounds:
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, 0)
	SCHEDULE(Z8, Z9, Z17, Z22)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z9, 4)
	SCHEDULE(Z9, Z10, Z18, Z23)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z10, 8)
	SCHEDULE(Z10, Z11, Z19, Z8)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z11, 12)
	SCHEDULE(Z11, Z12, Z20, Z9)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z12, 16)
	SCHEDULE(Z12, Z13, Z21, Z10)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z13, 20)
	SCHEDULE(Z13, Z14, Z22, Z11)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z14, 24)
	SCHEDULE(Z14, Z15, Z23, Z12)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z15, 28)
	SCHEDULE(Z15, Z16, Z8, Z13)
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z16, 32)
	SCHEDULE(Z16, Z17, Z9, Z14)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z17, 36)
	SCHEDULE(Z17, Z18, Z10, Z15)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z18, 40)
	SCHEDULE(Z18, Z19, Z11, Z16)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z19, 44)
	SCHEDULE(Z19, Z20, Z12, Z17)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z20, 48)
	SCHEDULE(Z20, Z21, Z13, Z18)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z21, 52)
	SCHEDULE(Z21, Z22, Z14, Z19)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z22, 56)
	SCHEDULE(Z22, Z23, Z15, Z20)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z23, 60)
	SCHEDULE(Z23, Z8, Z16, Z21)
	ADDQ $64, BX
	DECQ CX
	JNZ  rounds

	// Rounds 48 to 63: the schedule is complete.
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, 0)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z9, 4)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z10, 8)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z11, 12)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z12, 16)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z13, 20)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z14, 24)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z15, 28)
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z16, 32)
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z17, 36)
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z18, 40)
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z19, 44)
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z20, 48)
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z21, 52)
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z22, 56)
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z23, 60)

	// The new hash is the old one plus the working variables.
	VPADDD    0(DI), Z0, Z0
	VPADDD    64(DI), Z1, Z1
	VPADDD    128(DI), Z2, Z2
	VPADDD    192(DI), Z3, Z3
	VPADDD    256(DI), Z4, Z4
	VPADDD    320(DI), Z5, Z5
	VPADDD    384(DI), Z6, Z6
	VPADDD    448(DI), Z7, Z7
	VMOVDQU32 Z0, 0(DI)
	VMOVDQU32 Z1, 64(DI)
	VMOVDQU32 Z2, 128(DI)
	VMOVDQU32 Z3, 192(DI)
	VMOVDQU32 Z4, 256(DI)
	VMOVDQU32 Z5, 320(DI)
	VMOVDQU32 Z6, 384(DI)
	VMOVDQU32 Z7, 448(DI)
	VZEROUPPER
	RET

// STORE writes the hashes of messages i, i+4, i+8 and i+12, whose halves are in the
// quarters of two registers. p is 8*i.
#define STORE(p, low, high) \
	MOVQ          p(SI), R8          \
	MOVQ          p+32(SI), R9       \
	MOVQ          p+64(SI), R10      \
	MOVQ          p+96(SI), R11      \
	VPSHUFB       Z31, low, low      \
	VPSHUFB       Z31, high, high    \
	VEXTRACTI32X4 $0, low, 0(R8)     \
	VEXTRACTI32X4 $0, high, 16(R8)   \
	VEXTRACTI32X4 $1, low, 0(R9)     \
	VEXTRACTI32X4 $1, high, 16(R9)   \
	VEXTRACTI32X4 $2, low, 0(R10)    \
	VEXTRACTI32X4 $2, high, 16(R10)  \
	VEXTRACTI32X4 $3, low, 0(R11)    \
	VEXTRACTI32X4 $3, high, 16(R11)

// func digestAVX512(state *[8][Lanes]uint32, out *[Lanes]*[32]byte)
TEXT ·digestAVX512(SB), NOSPLIT, $0-16
	MOVQ state+0(FP), DI
	MOVQ out+8(FP), SI
	VMOVDQU32 0(DI), Z0
	VMOVDQU32 64(DI), Z1
	VMOVDQU32 128(DI), Z2
	VMOVDQU32 192(DI), Z3
	VMOVDQU32 256(DI), Z4
	VMOVDQU32 320(DI), Z5
	VMOVDQU32 384(DI), Z6
	VMOVDQU32 448(DI), Z7
	VBROADCASTI32X4 reverse<>(SB), Z31

	// Words 0 to 3 and 4 to 7 of every message, side by side again.
	TRANSPOSE(Z0, Z1, Z2, Z3)
	TRANSPOSE(Z4, Z5, Z6, Z7)
	STORE(0, Z0, Z4)
	STORE(8, Z1, Z5)
	STORE(16, Z2, Z6)
	STORE(24, Z3, Z7)
	VZEROUPPER
	RET
