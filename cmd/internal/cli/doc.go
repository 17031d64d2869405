// Package cli is what every program of this repository shares on its command
// line: configuration read once into a typed struct, output, progress, logging,
// exit codes, keys, plugins. It owns cobra, viper and the progress bar.
//
// It must not import host/wire, host/store or a module, nor decide anything about
// a chain; verbs are in cmd/kaizen.
//
// The rules of the interface, kept here because they are kept nowhere else:
//
//   - data goes to standard output, everything else to standard error;
//
//   - a reading verb takes -o table|json; JSON carries amounts as u64 decimal
//     strings in millionths, tables as USDC with six decimals;
//
//   - an amount that a person types is USDC: 12.5, exact, at most six decimals;
//
//   - anything that can last more than two seconds shows progress: a bar on a
//     terminal, a log line every ten seconds elsewhere;
//
//   - colour and lines drawn in place only on a terminal, and never with
//     NO_COLOR or TERM=dumb;
//
//   - an error is lower case without a full stop; it says what was wrong and
//     where; a line that starts with "hint:" says what to do next;
//
//   - a password or private key is never a flag's value and never printed, except
//     by the verb whose purpose that is;
//
//   - the exit code is decided once, in [ExitCode].
//
//     main ─▶ Execute(ctx, root, args) ─▶ plugin │ cobra ─▶ verb ─▶ error ─▶ ExitCode
//
// A program calls it from one goroutine; [Progress] may be updated from any.
package cli
