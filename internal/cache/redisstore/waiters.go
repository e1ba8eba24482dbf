package redisstore

import "sync"

// waiters are those who wait for news of a token. The zero value is ready.
type waiters struct {
	mu    sync.Mutex
	byKey map[string]chan struct{}
}

// wait returns what is closed with the next news of a token.
func (w *waiters) wait(key string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := w.byKey[key]
	if news == nil {
		if w.byKey == nil {
			w.byKey = map[string]chan struct{}{}
		}
		news = make(chan struct{})
		w.byKey[key] = news
	}
	return news
}

func (w *waiters) wake(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if news := w.byKey[key]; news != nil {
		close(news)
		delete(w.byKey, key)
	}
}

func (w *waiters) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, news := range w.byKey {
		close(news)
		delete(w.byKey, key)
	}
}
