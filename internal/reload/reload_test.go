package reload_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/reload"
)

const patience = time.Minute

// fixture is a Loop over a main file. Each line of the main file is the path of another file to
// load, or the word `broken`.
type fixture struct {
	*testing.T
	folder string
	main   string
	loads  chan string     // the result of each load: the contents of the files, or the error
	during func(load int)  // a function that is called with the number of each load, after the load has read the files
	now    chan<- struct{} // forces a load
	end    func()          // a function that stops the Loop, and waits until it has stopped
	count  int             // the number of loads so far
	taken  int             // the number of loads whose results were received
}

func newFixture(t *testing.T, change ...func(*fixture)) *fixture {
	t.Helper()
	t.Parallel() // each test waits several times until the Loop notices a change
	f := &fixture{T: t, folder: t.TempDir(), loads: make(chan string, 1000), during: func(int) {}}
	f.main = filepath.Join(f.folder, "main")
	f.write(f.main, "one")
	for _, apply := range change {
		apply(f)
	}
	loop, err := reload.New(f.load)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	now, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		loop.Run(ctx, now)
	}()
	f.now = now
	f.end = func() { cancel(); <-ended }
	t.Cleanup(f.end)
	<-f.loads
	f.taken = 1
	return f
}

func (f *fixture) load(reading func(string)) error {
	f.count++
	read, err := f.read(reading)
	f.during(f.count)
	if err != nil {
		read = "error: " + err.Error()
	}
	f.loads <- read
	return err
}

func (f *fixture) read(reading func(string)) (string, error) {
	reading(f.main)
	text, err := os.ReadFile(f.main)
	if err != nil {
		return "", errors.New("no main file")
	}
	all := string(text)
	for path := range strings.Lines(string(text)) {
		path = strings.TrimSpace(path)
		if path == "broken" {
			return "", errors.New("broken")
		}
		if !filepath.IsAbs(path) {
			continue
		}
		reading(path)
		text, err := os.ReadFile(path)
		if err != nil {
			return "", errors.New("no " + filepath.Base(path))
		}
		all += " " + string(text)
	}
	return all, nil
}

func (f *fixture) await(want string) {
	f.Helper()
	late := time.After(patience)
	for {
		select {
		case got := <-f.loads:
			f.taken++
			if strings.HasSuffix(got, want) {
				return
			}
		case <-late:
			f.Fatalf("no load has the result %q", want)
		}
	}
}

func (f *fixture) write(path, text string) {
	f.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) rename(path, text string) {
	f.Helper()
	f.write(path+".next", text)
	f.must(os.Rename(path+".next", path))
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func TestFileWrittenInPlace(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{"two", "six", "longer", ""} { // some of the texts have the same size
		f.write(f.main, text)
		f.await(text)
	}
}

func TestFileReplacedByRename(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{"two", "six", "longer"} {
		f.rename(f.main, text)
		f.await(text)
	}
}

// TestLinkedFolderIsSwapped replaces a mounted secret as Kubernetes does.
func TestLinkedFolderIsSwapped(t *testing.T) {
	f := newFixture(t)
	mount := filepath.Join(f.folder, "mount")
	publish := func(version, text string) {
		t.Helper()
		data := filepath.Join(mount, version)
		f.must(os.MkdirAll(data, 0o700))
		f.write(filepath.Join(data, "key"), text)
		f.must(os.Symlink(version, filepath.Join(mount, "..data_tmp")))
		f.must(os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
	}
	publish("..v1", "first")
	secret := filepath.Join(mount, "key")
	f.must(os.Symlink(filepath.Join("..data", "key"), secret))
	f.write(f.main, secret)
	f.await(" first")
	for i, text := range []string{"second", "third", "fourth"} {
		publish("..v2"+text, text)
		f.must(os.RemoveAll(filepath.Join(mount, []string{"..v1", "..v2second", "..v2third"}[i])))
		f.await(" " + text)
	}
	// This write goes through the symbolic links and overwrites their target in place.
	f.write(secret, "changed")
	f.await(" changed")
}

func TestFileThatIsDeletedAndComesBack(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{"two", "three"} {
		f.must(os.Remove(f.main))
		f.await("error: no main file")
		f.write(f.main, text)
		f.await(text)
	}
}

func TestMissingFileOfAnother(t *testing.T) {
	f := newFixture(t)
	secret := filepath.Join(f.folder, "secrets", "key")
	f.must(os.Mkdir(filepath.Dir(secret), 0o700))
	f.write(f.main, secret)
	f.await("error: no key")
	f.write(secret, "secret")
	f.await(" secret")
	f.write(secret, "changed")
	f.await(" changed")
}

// TestMissingFolder loads a file whose folder is created only after the first attempt.
func TestMissingFolder(t *testing.T) {
	f := newFixture(t)
	secret := filepath.Join(f.folder, "secrets", "key")
	f.write(f.main, secret)
	f.await("error: no key")
	f.must(os.Mkdir(filepath.Dir(secret), 0o700))
	f.write(secret, "secret")
	f.await(" secret")
}

// TestFailedLoadKeepsWatchingAll makes the main file faulty, so that it no longer names the other
// file, and checks that a change of the other file still causes a load.
func TestFailedLoadKeepsWatchingAll(t *testing.T) {
	f := newFixture(t)
	secret := filepath.Join(f.folder, "key")
	f.write(secret, "secret")
	f.write(f.main, secret)
	f.await(" secret")

	f.write(f.main, "broken")
	f.await("error: broken")
	f.write(secret, "changed") // the faulty main file does not name this file
	f.await("error: broken")

	other := filepath.Join(f.folder, "other")
	f.write(f.main, other+"\nbroken") // the other file does not exist yet
	f.await("error: no other")
	f.write(other, "there")
	f.await("error: broken")
	f.write(f.main, other)
	f.await(" there")
}

// TestFailedLoadIsNotRepeated changes a file that only the last successful load read, and checks
// that the change causes only one load.
func TestFailedLoadIsNotRepeated(t *testing.T) {
	f := newFixture(t)
	secret := filepath.Join(f.folder, "key")
	f.write(secret, "secret")
	f.write(f.main, secret)
	f.await(" secret")
	f.write(f.main, "broken")
	f.await("error: broken")
	f.write(secret, "changed")
	f.await("error: broken")
	select {
	case f.now <- struct{}{}: // the Loop has received the value, so it waits for a change
	case <-time.After(patience):
		t.Error("the failed load is repeated without a change")
	}
}

// TestHalfWrittenFile writes a file in two steps, with a pause that is longer than the time for
// which files must stay unchanged.
func TestHalfWrittenFile(t *testing.T) {
	f := newFixture(t)
	file, err := os.OpenFile(f.main, os.O_WRONLY|os.O_TRUNC, 0)
	f.must(err)
	_, err = file.WriteString("broken\n")
	f.must(err)
	f.await("error: broken")
	_, err = file.WriteAt([]byte("better\n"), 0)
	f.must(err)
	f.must(file.Close())
	f.await("better\n")
}

// TestChangeDuringALoad changes the main file after each load has read it, but before the load
// ends.
func TestChangeDuringALoad(t *testing.T) {
	const changes = 5
	f := newFixture(t, func(f *fixture) {
		f.during = func(load int) {
			if load <= changes {
				f.write(f.main, strings.Repeat("x", load))
			}
		}
	})
	f.await(strings.Repeat("x", changes))
}

func TestChangeOfANewFileDuringALoad(t *testing.T) {
	var secret string
	f := newFixture(t, func(f *fixture) {
		secret = filepath.Join(t.TempDir(), "key")
		f.write(secret, "first")
		f.during = func(load int) {
			if load == 2 {
				f.write(secret, "second")
			}
		}
	})
	f.write(f.main, secret)
	f.await(" second")
}

func TestForcedLoad(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.now <- struct{}{}
		f.await("one")
	}
	if f.taken != 4 {
		t.Errorf("%d loads, want 4", f.taken)
	}
}

// TestOtherFilesCauseNoLoad changes a file that was not loaded, and checks that only the forced
// loads occur.
func TestOtherFilesCauseNoLoad(t *testing.T) {
	f := newFixture(t)
	const forced = 30
	for range forced {
		f.write(filepath.Join(f.folder, "other"), "text")
		f.now <- struct{}{}
	}
	f.end()
	if got := len(f.loads); got != forced {
		t.Errorf("%d loads, want the %d that were forced", got, forced)
	}
}

func TestFirstLoadFails(t *testing.T) {
	want := errors.New("broken")
	if _, err := reload.New(func(func(string)) error { return want }); !errors.Is(err, want) {
		t.Errorf("the error is %v", err)
	}
}
