package screen

import (
	"strings"

	"charm.land/lipgloss/v2"
	qr "github.com/piglig/go-qr"
)

// quiet is how many light modules stand around a QR code. The standard wants four; two
// are enough for the cameras of phones, and fit into more windows.
const quiet = 2

// code draws a QR code of a text, two rows of modules in each line.
func code(text string) ([]string, error) {
	c, err := qr.EncodeText(text, qr.Low)
	if err != nil {
		return nil, err
	}
	size := c.Size()
	dark := func(x, y int) bool {
		return x >= 0 && y >= 0 && x < size && y < size && c.Module(x, y)
	}
	var lines []string
	for y := -quiet; y < size+quiet; y += 2 {
		var b strings.Builder
		for x := -quiet; x < size+quiet; x++ {
			switch up, low := dark(x, y), dark(x, y+1); {
			case up && low:
				b.WriteByte(' ')
			case up:
				b.WriteString("▄")
			case low:
				b.WriteString("▀")
			default:
				b.WriteString("█")
			}
		}
		lines = append(lines, b.String())
	}
	return lines, nil
}

// painted is a line of a QR code in black on white, whatever the terminal's colours. What
// is all light or all dark is background: blocks leave gaps in many fonts. Without colours
// a code is right on a dark terminal alone, and most cameras read the other as well.
func painted(row string) string {
	black, white := lipgloss.Color("#000000"), lipgloss.Color("#ffffff")
	light := lipgloss.NewStyle().Foreground(black).Background(white)
	dark := lipgloss.NewStyle().Foreground(white).Background(black)
	var b strings.Builder
	for _, c := range row {
		switch c {
		case '█':
			b.WriteString(light.Render(" "))
		case '▄':
			b.WriteString(light.Render("▀"))
		case '▀':
			b.WriteString(light.Render("▄"))
		default:
			b.WriteString(dark.Render(" "))
		}
	}
	return b.String()
}
