package metagov

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheReadmesDriverCompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, driver, _ := strings.Cut(string(readme), "```go\npackage main")
	driver, _, _ = strings.Cut(driver, "```")
	folder := t.TempDir()
	file := filepath.Join(folder, "main.go")
	if err := os.WriteFile(file, []byte("package main"+driver), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(folder, "driver"), file)
	if said, err := build.CombinedOutput(); err != nil {
		t.Error(err, string(said))
	}
}
