package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var (
	linked  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	spanned = regexp.MustCompile("`[^`\n]*`")
)

// pages returns the pages for people, by their paths from here.
func pages(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{"../*.md", "*.md", "guides/*.md", "../deploy/*.md", "../framing/*.md"} {
		found, err := filepath.Glob(filepath.FromSlash(pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		all = append(all, found...)
	}
	return all
}

// prose returns the lines of a page that are not inside of a fence.
func prose(t *testing.T, page string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			lines = append(lines, line)
		}
	}
	return lines
}

// anchors returns the anchors of a page's headings, as GitHub and GitLab make them.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for _, line := range prose(t, page) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		heading = regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(heading, "")
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading))
		first := anchor
		for n := 1; all[anchor]; n++ {
			anchor = first + "-" + strconv.Itoa(n)
		}
		all[anchor] = true
	}
	return all
}

// Each link inside of the repository leads to a file that is there, and to a heading of it.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		text := spanned.ReplaceAllString(strings.Join(prose(t, page), "\n"), "")
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], ":") {
				continue // another site's, or an address of mail
			}
			links++
			to, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if to != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(to))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere: %v", page, m[1], err)
			} else if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(t, target)[anchor] {
				t.Errorf("%s: the link %s leads to no heading", page, m[1])
			}
		}
	}
	if links < 300 {
		t.Errorf("only %d links were found", links)
	}
}

// Each page and each guide is linked to by the list of all.
func TestTheListHasEachPage(t *testing.T) {
	list := strings.Join(prose(t, "README.md"), "\n")
	for _, page := range pages(t) {
		if to := filepath.ToSlash(page); !strings.HasPrefix(to, "../") && to != "README.md" && !strings.Contains(list, "("+to+")") {
			t.Errorf("docs/README.md does not lead to %s", to)
		}
	}
}
