package lanes

// pair is two numbers, since squarings go two at a time.
type pair [2]number

// raise squares p n times and multiplies it by by.
func (p *pair) raise(n int, by *pair) {
	square(&p[0], &p[1], n)
	mul(&p[0], &p[0], &by[0])
	mul(&p[1], &p[1], &by[1])
}

// chains computes the powers whose exponents are nearly all ones: p - 2, and
// (p + 1)/4. Their addition chain, as in libsecp256k1, goes by x to the power of
// 2^k - 1 for k = 2, 3, 6, 9, 11, 22, 44, 88, 176, 220, 223.
type chains struct{ x2, x3, x11, x22, x44, run, held pair }

// root makes x a square root of x where there is one: x to the power of (p + 1)/4.
func (c *chains) root(x *pair) {
	c.start(x)
	c.run.raise(23, &c.x22)
	c.run.raise(6, &c.x2)
	square(&c.run[0], &c.run[1], 2)
	*x = c.run
}

// invert makes x 1/x, and zero what is zero: x to the power of p - 2.
func (c *chains) invert(x *pair) {
	c.start(x)
	c.run.raise(23, &c.x22)
	c.run.raise(5, x)
	c.run.raise(3, &c.x2)
	c.run.raise(2, x)
	*x = c.run
}

// start makes run x to the power of 2^223 - 1.
func (c *chains) start(x *pair) {
	c.x2 = *x
	c.x2.raise(1, x)
	c.run = c.x2
	c.run.raise(1, x)
	c.x3 = c.run
	c.run.raise(3, &c.x3)
	c.run.raise(3, &c.x3)
	c.run.raise(2, &c.x2)
	c.x11 = c.run
	c.run.raise(11, &c.x11)
	c.x22 = c.run
	c.run.raise(22, &c.x22)
	c.x44 = c.run
	c.run.raise(44, &c.x44)
	c.held = c.run
	c.run.raise(88, &c.held)
	c.run.raise(44, &c.x44)
	c.run.raise(3, &c.x3)
}

// normalizer makes points affine, many with one inversion.
type normalizer struct {
	chains  chains
	inverse pair
	t       number
}

// run divides every x by Z² and every y by Z³ and leaves them below p. No Z may be
// zero. products has room for as many numbers.
func (n *normalizer) run(points []point, products []number) {
	last := len(points) - 1
	products[0] = points[0].z
	for i := 1; i <= last; i++ {
		mul(&products[i], &products[i-1], &points[i].z)
	}
	n.inverse[0] = products[last]
	n.chains.invert(&n.inverse)
	rest := &n.inverse[0]
	for i := last; i > 0; i-- {
		z := &products[i]
		mul(z, rest, &products[i-1])
		mul(rest, rest, &points[i].z)
		n.divide(&points[i], z)
	}
	n.divide(&points[0], rest)
}

// divide multiplies p by 1/Z.
func (n *normalizer) divide(p *point, z *number) {
	mul(&n.t, z, z)
	mul(&p.x, &p.x, &n.t)
	mul(&n.t, &n.t, z)
	mul(&p.y, &p.y, &n.t)
	p.z = one
	normal(&p.x, &p.x)
	normal(&p.y, &p.y)
}
