package store

import "io"

// JournalEntry is one record of the journal and where it lies.
type JournalEntry struct {
	JournalRecord
	Segment uint64 // number of the file
	Offset  int64  // of the record's group in it, bytes
	Group   uint64 // records of one group became durable together
	Height  uint64 // of the block that the record belongs to
}

// JournalEntries reads the whole journal, in order: what is still needed, and what
// is left of blocks that are in the log already. It changes nothing and may be
// called beside a node that runs; what that appends meanwhile may be missing.
func (s *Store) JournalEntries() (entries []JournalEntry, err error) {
	for range journalTries {
		entries = nil
		if err = s.scanJournalNow(func(e JournalEntry) { entries = append(entries, e) }); err == nil {
			return entries, nil
		}
	}
	return nil, err
}

// RecordBytes is the room that a block and its results take in the log, bytes.
func (s *Store) RecordBytes(height uint64) (n int64, err error) {
	err = s.log.read(height, func(_ io.ReaderAt, _ string, _ int64, fr frame) error {
		n = fr.bytes()
		return nil
	})
	return n, err
}

// IndexBytes is the room that so many transaction ids and block hashes take in the
// index once they are merged, bytes.
func IndexBytes(ids uint64) int64 {
	runs := ids / MaxRunEntries
	full, rest := runHeader{entries: MaxRunEntries}, runHeader{entries: ids % MaxRunEntries}
	return int64(runs)*full.bytes() + rest.bytes()
}
