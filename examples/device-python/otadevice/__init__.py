"""A device that updates itself through a Mosquitto broker with the plugin mosquitto-ota.

Start reading in agent.py; board.py is what you change for your hardware.
"""
