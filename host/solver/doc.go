// Package solver quotes bets over HTTP and sends the accepted ones to a write
// node: the loop around host/quote, and the client for those who ask it.
//
// It owns the HTTP interface, what is asked of the node before each answer, and
// that an accepted quote comes to an end: executed, refused, or its fate unknown
// and said so. Prices and limits are judged in host/quote. It must not import
// cmd.
//
//	POST /quote   {user, pair, lower, upper, bet_amount, duration | end [, start]}   terms
//	POST /accept  {quote, user_signature}                                            receipt
//	GET  /info, GET /health
//
//	s, err := solver.New(ctx, node, options)     asks the node which chain it is
//	err = s.Run(ctx, listener)                   serves until ctx ends; what was accepted is finished first
//
//	c, err := solver.NewClient("http://127.0.0.1:8560")
//	terms, err := c.Quote(ctx, request)
//	accepted, err := c.Accept(ctx, terms.Quote, signature)
//
// The solver signs nothing before the user has signed: a quote binds nobody until
// both signatures are in one RfqSubmit. Its word is kept by the book: an offer
// can be accepted once, by its user, until its deadline, if prices did not move
// against it in between.
//
// Any goroutine may call a [Client], and anything of a [Server] but Run, which is
// called once.
package solver
