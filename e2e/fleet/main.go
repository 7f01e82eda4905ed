package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"keystay/e2e/fleet/costs"
)

func main() {
	from := flag.String("costs", "fleet/costs.json", "`FILE` with what things cost, as the measurement has written it")
	doc := flag.String("doc", "", "Markdown `FILE` in which to replace the tables, between two lines that say so")
	flag.Parse()
	if err := run(*from, *doc); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// run simulates, and prints the tables.
func run(from, doc string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var c costs.Costs
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	r := Simulate(Fifty(), c)
	tables := r.Tables()
	fmt.Print(tables)
	if doc == "" {
		return nil
	}
	return insert(doc, tables)
}

// The lines between which the tables are.
const (
	beginLine = "<!-- nodes: begin -->\n"
	endLine   = "<!-- nodes: end -->\n"
)

// insert replaces the tables in a file.
func insert(file, tables string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(text, []byte(beginLine))
	_, after, ends := bytes.Cut(rest, []byte(endLine))
	if !begins || !ends {
		return fmt.Errorf("%s has no lines %q and %q", file, beginLine, endLine)
	}
	return os.WriteFile(file, fmt.Appendf(nil, "%s%s\n%s\n%s%s", before, beginLine, tables, endLine, after), 0o600)
}
