"""The data that passes between the rooms. No behaviour beyond construction."""
