package unit

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// launchd is u as a property list of launchd. KeepAlive knows success alone, so a program
// that is not to be started again says that it has succeeded, see [Run].
func (u *Unit) launchd() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
`)
	text := func(s string) string {
		var t strings.Builder
		_ = xml.EscapeText(&t, []byte(s)) // a Builder takes everything
		return "<string>" + t.String() + "</string>"
	}
	key := func(name, value string) { fmt.Fprintf(&b, "\t<key>%s</key>\n\t%s\n", name, value) }
	number := func(n int) string { return fmt.Sprintf("<integer>%d</integer>", n) }
	key("Label", text(u.Name))
	var args strings.Builder
	for _, a := range append([]string{u.Program}, u.Args...) {
		args.WriteString("\t\t" + text(a) + "\n")
	}
	key("ProgramArguments", "<array>\n"+args.String()+"\t</array>")
	if u.User != "" && !u.OfUser {
		key("UserName", text(u.User))
	}
	key("RunAtLoad", "<true/>")
	key("KeepAlive", "<dict>\n\t\t<key>SuccessfulExit</key>\n\t\t<false/>\n\t</dict>")
	key("ThrottleInterval", number(10))
	key("ExitTimeOut", number(u.stopSeconds()))
	key("Umask", number(0o077))
	key("SoftResourceLimits", "<dict>\n\t\t<key>NumberOfFiles</key>\n\t\t<integer>65536</integer>\n\t</dict>")
	key("StandardOutPath", text(u.Log))
	key("StandardErrorPath", text(u.Log))
	b.WriteString("</dict>\n</plist>\n")
	return b.String()
}

// launchdCommand returns the program and the arguments that a property list has; nothing
// where there are none.
func launchdCommand(list string) (command []string) {
	d := xml.NewDecoder(strings.NewReader(list))
	var key, text string
	for {
		token, err := d.Token()
		switch t := token.(type) {
		case xml.CharData:
			text = string(t)
		case xml.StartElement:
			text = ""
		case xml.EndElement:
			switch {
			case t.Name.Local == "key":
				key = text
			case t.Name.Local == "string" && key == "ProgramArguments":
				command = append(command, text)
			case t.Name.Local == "array" && key == "ProgramArguments":
				return command
			}
			text = ""
		}
		if err != nil { // also at the end
			return command
		}
	}
}
