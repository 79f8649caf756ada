"""Ways to tell people something: webhooks, web push, e-mail and chats, through a process of its own."""
