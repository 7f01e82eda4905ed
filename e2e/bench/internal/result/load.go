package result

import (
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
