package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Load reads measurements, one JSON object after the other.
func Load(file string) (all []Measurement, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var m Measurement
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, m)
	}
}

// The lines between which Insert puts the tables.
const (
	beginTables = "<!-- tables: begin -->\n"
	endTables   = "<!-- tables: end -->\n"
)

// Insert replaces the tables in a Markdown file, those between two comments.
func Insert(file string, all []Measurement) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(beginTables))
	_, after, ok2 := bytes.Cut(rest, []byte(endTables))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", file, beginTables, endTables)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(beginTables + "\n")
	Print(&b, all, nil, true)
	b.WriteString(endTables)
	b.Write(after)
	return os.WriteFile(file, b.Bytes(), 0o644)
}
