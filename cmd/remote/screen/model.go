package screen

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// noteFor is how long the answer to a key stands in the last line.
const noteFor = 4 * time.Second

// wentOn says that the program was stopped and goes on.
type wentOn struct{}

// noteOver ends the note with that number.
type noteOver int

// let is why the screen lets go of the terminal.
type let int

const (
	keep let = iota
	stop     // the program is to be stopped, as by Ctrl-Z
	wake     // it was stopped, and takes the terminal anew
)

// A page is what is shown in the place of the figures.
type page int

const (
	pageNone page = iota
	pageHelp
	pageCode
	pageMessages
)

// A model is the screen as it is now.
type model struct {
	config        *Config
	looks         looks
	figures       Figures
	width, height int
	colour        bool
	page          page
	scroll        int    // of the page
	selected      string // the URL of the name whose figures are shown
	note          string // the answer to the last key
	noteNumber    int
	stops         int // how often the end was asked for here
	let           let
	open          func(string) error
}

func newModel(c *Config) model {
	return model{config: c, looks: newLooks(), open: open, colour: true}
}

// Init implements tea.Model.
func (m model) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case Figures:
		m.figures = message
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case tea.ColorProfileMsg:
		m.colour = message.Profile >= colorprofile.ANSI
	case noteOver:
		if int(message) == m.noteNumber {
			m.note = ""
		}
	case wentOn:
		return m.letGo(wake)
	case tea.KeyPressMsg:
		return m.key(message.String())
	}
	return m, nil
}

// key does what a key is for.
func (m model) key(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "ctrl+c":
		m.stops++
		m.config.Stop()
		return m, nil
	case "ctrl+z":
		return m.letGo(stop)
	case "esc":
		return m.show(pageNone), nil
	case "?", "h":
		return m.show(pageHelp), nil
	case "r":
		return m.show(pageCode), nil
	case "w":
		return m.show(pageMessages), nil
	case "c":
		if n := m.name(); n != nil {
			m, done := m.say("Copied, where the terminal allows it: " + n.URL)
			return m, tea.Batch(tea.SetClipboard(n.URL), done)
		}
	case "o":
		if n := m.name(); n != nil {
			return m.opened(n.URL, "Open "+n.URL)
		}
	case "i":
		if m.config.Inspector != "" {
			return m.opened(m.config.Inspector, "? shows the address")
		}
		return m.say("There is no inspector: it takes --inspect at the start.")
	default:
		return m.move(key), nil
	}
	return m, nil
}

// letGo makes the screen let go of the terminal.
func (m model) letGo(why let) (tea.Model, tea.Cmd) {
	if !canSuspend {
		return m, nil
	}
	m.let, m.note = why, ""
	return m, tea.Quit
}

// show shows a page, or no more if it is shown.
func (m model) show(p page) model {
	if m.page == p {
		p = pageNone
	}
	m.page, m.scroll = p, 0
	return m
}

// move scrolls the page, or selects another name.
func (m model) move(key string) model {
	far := max(1, m.height-4)
	by, ok := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -far, "pgdown": far, "space": far,
		"home": -1 << 30, "g": -1 << 30, "end": 1 << 30, "G": 1 << 30,
	}[key]
	if !ok {
		return m
	}
	if m.page != pageNone {
		m.scroll = max(0, m.scroll+by)
		m.scroll = min(m.scroll, max(0, len(m.pageLines())-m.pageHeight()))
		return m
	}
	if names := m.figures.Names; len(names) > 0 {
		at := max(0, min(len(names)-1, m.at()+by))
		m.selected = names[at].URL
	}
	return m
}

// at is the number of the name that is selected: the first, where none is or it has gone.
func (m model) at() int {
	return max(0, slices.IndexFunc(m.figures.Names, func(n Name) bool { return n.URL == m.selected }))
}

// name is the name that is selected, or nil where there is none.
func (m model) name() *Name {
	if len(m.figures.Names) == 0 {
		return nil
	}
	return &m.figures.Names[m.at()]
}

// opened lets the desktop open a URL, or says what else to do.
func (m model) opened(url, otherwise string) (tea.Model, tea.Cmd) {
	if err := m.open(url); err != nil {
		return m.say("Not opened: " + err.Error() + ". " + otherwise)
	}
	return m.say("Opening " + url)
}

// say puts a note into the last line for a while.
func (m model) say(note string) (model, tea.Cmd) {
	m.note = note
	m.noteNumber++
	number := m.noteNumber
	return m, tea.Tick(noteFor, func(time.Time) tea.Msg { return noteOver(number) })
}
