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

// The lines between which Insert puts tables: those of scale, or all others.
const (
	tablesMark = "tables"
	scaleMark  = "scale"
)

func beginLine(mark string) string { return "<!-- " + mark + ": begin -->\n" }
func endLine(mark string) string   { return "<!-- " + mark + ": end -->\n" }

// Insert replaces the tables in a Markdown file, those between two comments.
func Insert(file string, all []Measurement) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, compared := replaced(text, tablesMark, tables(all))
	text, scaled := replaced(text, scaleMark, scaleTables(all))
	if !compared && !scaled {
		return fmt.Errorf("%s has no lines %q and %q", file, beginLine(tablesMark), endLine(tablesMark))
	}
	return os.WriteFile(file, text, 0o644)
}

// replaced puts tables between the two lines of a mark, if the text has them.
func replaced(text []byte, mark string, tables []table) ([]byte, bool) {
	before, rest, ok := bytes.Cut(text, []byte(beginLine(mark)))
	_, after, ok2 := bytes.Cut(rest, []byte(endLine(mark)))
	if !ok || !ok2 {
		return text, false
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(beginLine(mark) + "\n")
	printTables(&b, tables, true)
	b.WriteString(endLine(mark))
	b.Write(after)
	return b.Bytes(), true
}
