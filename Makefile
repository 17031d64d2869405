# Words for what is done often; each is one line that calls Go.
#
#   make check    what a change must pass before anything slow runs
#   make test     every test
#   make race     every test under the race detector
#   make stf      rebuild the committed modules from source
#   make golden   rewrite golden files; then read the diff
#   make bench    the speed figures as ratios of this machine; tools/bench -run all adds peers and growth

.PHONY: check test race stf golden bench

# Packages with golden files.
GOLDEN = ./host/chain ./host/follow ./host/node ./host/rpc ./host/settle ./host/state ./host/store ./host/wasm \
	./host/wire ./host/witness ./snapshot ./stf-modules/rfq ./stf-modules/rfq/params ./tools/bench

check:
	go vet ./... && go mod tidy -diff && go test ./tools/tidy

test:
	go test ./...

race:
	go test -race ./...

stf:
	go run ./tools/stfbuild

golden:
	go test $(GOLDEN) -update

bench:
	go run ./tools/bench
